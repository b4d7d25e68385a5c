//! The rest of a body: what is kept of a request to ask another region for it, and whom.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use hyper::body::Body;

use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::proxy::attempt::{AttemptError, OriginResponse, send};
use crate::proxy::outgoing_request::{ChosenResponse, OutgoingRequest, RetryCharge, facts};
use crate::proxy::range_resume::validate::PromisedRange;
use crate::proxy::recorder::{AttemptedAt, Recorder};
use crate::telemetry::metrics::ResumeResult;
use meridian_core::decide::endpoint::EndpointHint;
use meridian_core::decide::failover::{
    Attempt, Attempts, GiveUp, Next, RequestClass, RetryFacts, is_charged, next,
};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::decide::{RequestFacts, decide};
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::table::path::matched_path;
use meridian_core::table::policy::RetryPolicy;

/// What is kept of a request while its body is on its way, to ask for the rest of it.
#[derive(Debug)]
pub(in crate::proxy) struct ResumeRequest {
    /// Shared with the attempt that is under way.
    pub(in crate::proxy) outgoing: Rc<OutgoingRequest>,
    /// What the viewer was told to expect.
    pub(in crate::proxy) promise: PromisedRange,
    /// The route's word, less an attempt that was overtaken.
    retry: RetryPolicy,
    /// Attempts that failed, or that the body had to be taken from.
    attempts: Attempts,
    /// Where an attempt was overtaken: the last to be asked.
    late: Option<RegionId>,
    /// The endpoint that failed last.
    avoid: Option<EndpointId>,
    /// Since when somebody has been asked; to the first byte that comes.
    since: Option<Timestamp>,
}

impl ResumeRequest {
    /// How long the body may stand still before another region is asked.
    pub(in crate::proxy) fn resume_after(&self) -> Duration {
        self.outgoing.route().timeouts.resume_after
    }

    /// What is needed to go on with the body of `answered`, if that can be done at all.
    pub(in crate::proxy) fn of(
        proxy: &Proxy,
        outgoing: OutgoingRequest,
        answered: &ChosenResponse,
    ) -> Option<Box<Self>> {
        let answer = &answered.answer;
        let read = outgoing.class == RequestClass::Read && outgoing.head.method == Method::GET;
        let streams = answer.buffered.is_none() && !answer.response.body().is_end_stream();
        let mut retry = outgoing.route().retry;
        let spent = u8::from(answered.overtaken.is_some());
        retry.attempts = retry.attempts.saturating_sub(spent);
        if !read || !streams || outgoing.source.is_some() || retry.attempts < 2 {
            return None;
        }
        let alone = outgoing.decision.ranked.all().len() < 2
            && !proxy.has_another_endpoint(&outgoing, answered.region, answer.endpoint);
        if alone {
            return None;
        }
        let promise = PromisedRange::of(&answer.response)?;
        Some(Box::new(Self {
            outgoing: Rc::new(outgoing),
            promise,
            retry,
            attempts: answered.attempts,
            late: answered.overtaken,
            avoid: None,
            since: None,
        }))
    }

    /// Counts an attempt that brought none of the rest.
    pub(in crate::proxy) fn failed(
        &mut self,
        (region, endpoint): (RegionId, EndpointId),
        error: ErrorKind,
        asked_to_wait: bool,
    ) {
        self.avoid = Some(endpoint);
        self.push(region, error, asked_to_wait);
    }

    /// Whether somebody has been asked and no byte came since.
    pub(in crate::proxy) fn is_due(&self) -> bool {
        self.since.is_some()
    }

    /// Bytes come again.
    pub(in crate::proxy) fn goes_on(&mut self) {
        self.since = None;
    }

    fn push(&mut self, region: RegionId, error: ErrorKind, asked_to_wait: bool) {
        self.attempts.push(Attempt {
            region,
            error,
            asked_to_wait,
        });
    }

    /// Asks the next region that may be asked for all but the first `sent` bytes, if it has an
    /// endpoint.
    pub(in crate::proxy) fn ask(
        &mut self,
        proxy: &Rc<Proxy>,
        sent: u64,
        recorder: &mut Recorder,
    ) -> Result<Option<RangeAttempt>, GiveUp> {
        if self.promise.length() <= sent {
            return Err(GiveUp::NotRetryable);
        }
        let left = self.time_left(proxy);
        let last = self.attempts.last().copied();
        let is_charged = is_charged(&self.attempts);
        let (region, fresh) = match self.next(proxy, left) {
            Next::Try(region) => (region, false),
            Next::Again(region) => (region, true),
            Next::GiveUp(reason) => return Err(reason),
        };
        let charge = is_charged.then(|| RetryCharge {
            proxy: Rc::clone(proxy),
            region,
        });
        if let Some(last) = last {
            recorder.failing_over(last.region, last.error, region);
        }
        let hint = EndpointHint {
            avoid: self.avoid,
            ..EndpointHint::default()
        };
        let outgoing = Rc::clone(&self.outgoing);
        let Some(endpoint) = proxy.endpoint(&outgoing, region, hint) else {
            recorder.failed(AttemptedAt::nowhere(region), ErrorKind::NoEndpoint);
            recorder.resumed(region, ResumeResult::Failed);
            self.push(region, ErrorKind::NoEndpoint, false);
            return Ok(None);
        };
        let (id, address) = (endpoint.id, endpoint.address);
        let head = self.promise.rest(&outgoing.head, sent);
        let answer = {
            let outgoing = Rc::clone(&outgoing);
            let proxy = Rc::clone(proxy);
            async move {
                let _until_it_ends = charge;
                let endpoint = known(&outgoing, id).ok_or(AttemptError::NoEndpoint)?;
                let to = outgoing.to(region, endpoint, fresh, Instant::now(), left);
                send(&proxy.pools, &head, None, to).await
            }
        };
        Ok(Some(RangeAttempt {
            region,
            endpoint: id,
            address,
            answer: Box::pin(answer),
        }))
    }

    /// Until the viewer has seen nothing new for as long as a body may stand still.
    fn time_left(&mut self, proxy: &Proxy) -> Duration {
        let now = proxy.clock.now();
        if self.since.is_none() {
            self.since = Some(now);
            self.decide_anew(proxy);
        }
        let limit = self.outgoing.route().timeouts.body_progress;
        let since = self.since.unwrap_or(now);
        limit.saturating_sub(now.since(since))
    }

    /// Decides by what is believed now, which may be long after the body began. Under another table
    /// regions have other numbers: then it stays with the old one, but goes nowhere that the new one
    /// does not lead to.
    fn decide_anew(&mut self, proxy: &Proxy) {
        let Some(outgoing) = Rc::get_mut(&mut self.outgoing) else {
            return;
        };
        let live = proxy.live();
        let host = outgoing.head.host.as_ref();
        let facts = RequestFacts {
            host: host.and_then(|host| host.to_str().ok()),
            path: &matched_path(outgoing.head.path.path()),
            viewer: &outgoing.viewer,
            probation: false,
        };
        let decision = decide(&live.snapshot, &facts).ok();
        match decision {
            Some(decision) if outgoing.live.snapshot.generation == live.snapshot.generation => {
                outgoing.decision = decision;
                outgoing.live = live;
            }
            newer => {
                let (old, new) = (&outgoing.live.snapshot.table, &live.snapshot.table);
                let leads_to = |region: &RegionId| {
                    let number = new.region_named(&old.region(*region).name);
                    let all = newer.as_ref().map(|newer| newer.ranked.all());
                    number
                        .zip(all)
                        .is_some_and(|(number, all)| all.contains(&number))
                };
                let permitted = outgoing.decision.permitted.iter();
                outgoing.decision.permitted = permitted.filter(leads_to).collect();
            }
        }
        if let Some(late) = self.late {
            outgoing.decision.ranked.put_last(late);
        }
    }

    fn next(&self, proxy: &Proxy, left: Duration) -> Next {
        let outgoing = &self.outgoing;
        let last = self.attempts.last().zip(self.avoid);
        let spare = last.is_some_and(|(last, endpoint)| {
            proxy.has_another_endpoint(outgoing, last.region, endpoint)
        });
        let facts = RetryFacts {
            retry: &self.retry,
            ..facts(outgoing, left, spare)
        };
        let budget = &mut *proxy.budget.borrow_mut();
        let now = proxy.clock.now();
        next(&outgoing.decision, &self.attempts, &facts, budget, now)
    }
}

/// A region that was asked for the rest.
pub(in crate::proxy) struct RangeAttempt {
    /// Which.
    pub(in crate::proxy) region: RegionId,
    /// Which endpoint of it.
    pub(in crate::proxy) endpoint: EndpointId,
    /// Its address.
    pub(in crate::proxy) address: SocketAddr,
    /// Its answer, to come.
    pub(in crate::proxy) answer:
        Pin<Box<dyn Future<Output = Result<Box<OriginResponse>, AttemptError>>>>,
}

impl std::fmt::Debug for RangeAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RangeAttempt").field(&self.region).finish()
    }
}

/// The endpoint, while it is known.
pub(in crate::proxy) fn known(
    outgoing: &OutgoingRequest,
    endpoint: EndpointId,
) -> Option<&EndpointState> {
    let (_, endpoint) = outgoing.live.snapshot.endpoint(endpoint)?;
    Some(endpoint)
}
