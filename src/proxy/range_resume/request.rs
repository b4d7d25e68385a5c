//! What is kept of a request while its body is on its way, to ask another region for the rest of it.

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use crate::proxy::attempt::AttemptMessage;
use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_result::{AttemptEnd, AttemptResult};
use crate::proxy::attempt_target::{AttemptTarget, AttemptTime, AttemptedAt, PermittedEndpoint};
use crate::proxy::failed_attempts::FailedAttempts;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::range_resume::validate::PromisedRange;
use crate::proxy::recorder::Recorder;
use crate::proxy::request_state::ChosenAnswer;
use crate::proxy::retry_budget::RetryStep;
use crate::proxy::upstream_side::UpstreamSide;
use crate::telemetry::metrics::ResumeResult;
use meridian_core::decide::decide;
use meridian_core::decide::failover::GiveUp;
use meridian_core::decide::request::{RequestClass, RequestFacts};
use meridian_core::model::id::RegionId;
use meridian_core::model::time::Timestamp;
use meridian_core::table::path::matched_path;
use meridian_core::table::policy::RetryPolicy;

/// What is kept of a request while its body is on its way, to ask for the rest of it.
#[derive(Debug)]
pub(in crate::proxy) struct ResumeRequest {
    /// Shared with the attempt that is under way.
    pub(super) request: Rc<OutgoingRequest>,
    /// What the viewer was told to expect.
    pub(super) promised: PromisedRange,
    /// Attempts that failed, or that the body had to be taken from.
    pub(super) failed: FailedAttempts,
    /// The route's word, less an attempt that was overtaken.
    policy: RetryPolicy,
    /// Where an attempt was overtaken: the last to be asked.
    overtaken: Option<RegionId>,
    /// Since when somebody has been asked; to the first byte that comes.
    waiting_since: Option<Timestamp>,
}

/// What of `request` may be asked of another region if the body of `chosen` breaks off; `None` if
/// nothing.
pub(in crate::proxy) fn resumable(
    request: &OutgoingRequest,
    chosen: &ChosenAnswer,
) -> Option<PromisedRange> {
    let read = request.class == RequestClass::Read && request.head.method == Method::GET;
    let attempts = policy_after(request, chosen).attempts;
    if !read || chosen.answer.is_whole() || request.source.is_some() || attempts < 2 {
        return None;
    }
    let alone = request.decision.ranked().all().len() < 2
        && !request.has_another_endpoint(chosen.at.region, chosen.at.endpoint);
    if alone {
        return None;
    }
    PromisedRange::of(&chosen.answer.origin.response)
}

/// The route's word, less an attempt that was overtaken.
fn policy_after(request: &OutgoingRequest, chosen: &ChosenAnswer) -> RetryPolicy {
    let mut policy = request.route().retry;
    let spent = u8::from(chosen.overtaken.is_some());
    policy.attempts = policy.attempts.saturating_sub(spent);
    policy
}

impl ResumeRequest {
    /// `request`, of which `chosen` promised a range.
    pub(in crate::proxy) fn new(
        request: OutgoingRequest,
        chosen: &ChosenAnswer,
        promised: PromisedRange,
    ) -> Self {
        Self {
            policy: policy_after(&request, chosen),
            request: Rc::new(request),
            promised,
            failed: FailedAttempts::after(chosen.attempts),
            overtaken: chosen.overtaken,
            waiting_since: None,
        }
    }

    /// How long the body may stand still before another region is asked.
    pub(super) fn resume_after(&self) -> Duration {
        self.request.route().timeouts.resume_after
    }

    /// How long a body may stand still at all.
    pub(super) fn body_progress(&self) -> Duration {
        self.request.route().timeouts.body_progress
    }

    /// Whether somebody has been asked and no byte came since.
    pub(super) fn is_due(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Bytes come again.
    pub(super) fn goes_on(&mut self) {
        self.waiting_since = None;
    }

    /// Asks the next region that may be asked for all but the first `sent` bytes, if it has an
    /// endpoint.
    pub(super) fn ask(
        &mut self,
        upstream: &Rc<UpstreamSide>,
        sent: u64,
        recorder: &mut Recorder,
    ) -> Result<Option<RangeAttempt>, GiveUp> {
        if self.promised.length() <= sent {
            return Err(GiveUp::NotRetryable);
        }
        let left = self.time_left(upstream);
        let last = self.failed.last().copied();
        let now = upstream.attempts.clock.now();
        let retries = &upstream.retries;
        let step = self
            .failed
            .next(retries, &self.request, &self.policy, left, now)?;
        let region = step.region.id();
        if let Some(last) = last {
            recorder.failing_over(last.region, last.error, region);
        }
        let avoid = self.failed.last_endpoint();
        let (snapshot, upstreams) = (&self.request.live.snapshot, &upstream.attempts.upstreams);
        let Some(endpoint) = upstreams.choose(snapshot, step.region, avoid) else {
            recorder.had_no_endpoint(region);
            recorder.resumed(region, ResumeResult::Failed);
            self.failed.had_no_endpoint(region);
            return Ok(None);
        };
        let at = AttemptedAt::new(endpoint, step.kind);
        Ok(Some(RangeAttempt {
            at,
            result: Box::pin(self.attempt(upstream, sent, step, at, left)),
        }))
    }

    /// An attempt at the rest of the body.
    fn attempt(
        &self,
        upstream: &Rc<UpstreamSide>,
        sent: u64,
        step: RetryStep,
        at: AttemptedAt,
        left: Duration,
    ) -> impl Future<Output = AttemptResult> + use<> {
        let head = self.promised.range_head(&self.request.head, sent);
        let RetryStep {
            region,
            kind,
            charge,
        } = step;
        let request = Rc::clone(&self.request);
        let upstream = Rc::clone(upstream);
        async move {
            let _until_it_ends = charge;
            let chosen = PermittedEndpoint::of(region, &request.live.snapshot, |endpoints| {
                endpoints.iter().find(|one| one.id == at.endpoint)
            });
            let Some(endpoint) = chosen else {
                let end = AttemptEnd::Failed(AttemptError::NoEndpoint);
                return AttemptResult { at, end };
            };
            let time = AttemptTime {
                began: Instant::now(),
                left,
                watched_until: None,
            };
            let target = AttemptTarget::new(&request, endpoint, kind, time);
            let message = AttemptMessage::Range(&head);
            upstream.attempts.run(&request, message, target).await
        }
    }

    /// Until the viewer has seen nothing new for as long as a body may stand still.
    fn time_left(&mut self, upstream: &UpstreamSide) -> Duration {
        let now = upstream.attempts.clock.now();
        if self.waiting_since.is_none() {
            self.waiting_since = Some(now);
            self.decide_anew(upstream);
        }
        let since = self.waiting_since.unwrap_or(now);
        self.body_progress().saturating_sub(now.since(since))
    }

    /// Decides by what is believed now, which may be long after the body began. Under another table
    /// regions have other numbers: then it stays with the old one, but goes nowhere that the new one
    /// does not lead to.
    fn decide_anew(&mut self, upstream: &UpstreamSide) {
        let Some(request) = Rc::get_mut(&mut self.request) else {
            return;
        };
        let live = upstream.view.load();
        let host = request.head.host.as_ref();
        let facts = RequestFacts {
            host: host.and_then(|host| host.to_str().ok()),
            path: &matched_path(request.head.path.path()),
            method: &request.head.method,
            class: request.class,
            viewer: &request.viewer,
            draw: request.draw,
        };
        let decision = decide(&live.snapshot, &facts).ok();
        match decision {
            Some(decision) if request.live.snapshot.generation == live.snapshot.generation => {
                request.decision = decision;
                request.live = live;
            }
            newer => {
                let (old, new) = (&request.live.snapshot.table, &live.snapshot.table);
                let leads_to = |region: &RegionId| {
                    let number = new.region_named(&old.region(*region).name);
                    let all = newer.as_ref().map(|newer| newer.ranked().all());
                    number
                        .zip(all)
                        .is_some_and(|(number, all)| all.contains(&number))
                };
                request.decision.retain(leads_to);
            }
        }
        if let Some(overtaken) = self.overtaken {
            request.decision.put_last(overtaken);
        }
    }
}

/// A region that was asked for the rest.
pub(super) struct RangeAttempt {
    /// Where.
    pub(super) at: AttemptedAt,
    /// What comes of it.
    pub(super) result: Pin<Box<dyn Future<Output = AttemptResult>>>,
}

impl std::fmt::Debug for RangeAttempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RangeAttempt").field(&self.at).finish()
    }
}
