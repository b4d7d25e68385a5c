//! From a request to the head of a response: attempt, fail over, keep the best answer.

use std::pin::{Pin, pin};
use std::time::Duration;

use http::header;
use http::{Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use crate::proxy::Proxy;
use crate::proxy::attempt::{AttemptError, AttemptTarget, OriginResponse, send};
use crate::proxy::error_response::ProxyError;
use crate::proxy::outgoing_request::{ChosenResponse, OutgoingRequest, RetryCharge, facts};
use crate::proxy::outlier_report::FailureReport;
use crate::proxy::recorder::{AttemptedAt, Recorder};
use crate::proxy::response_buffer::buffer;
use crate::upstream::body::{Progress, ReplaySource};
use meridian_core::decide::endpoint::{EndpointHint, choose};
use meridian_core::decide::failover::{
    Attempt, Attempts, GiveUp, Next, RequestClass, hedge, is_charged, next,
};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::health::state::Health;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::outlier::Verdict;

/// A budget that is spent now has room again as soon as the attempts that spent it end.
const UNTIL_ROOM: Duration = Duration::from_millis(25);

/// What a viewer waits at most for an endpoint on probation before another region is asked.
const PROBATION_HEDGE: Duration = Duration::from_millis(250);

/// How far a request has come.
struct RequestState<'a> {
    recorder: &'a mut Recorder,
    /// Attempts that failed.
    attempts: Attempts,
    /// The first gateway error that a region itself gave: the viewer's when no better comes.
    fallback: Option<ChosenResponse>,
    /// How the last attempt failed, for the log.
    detail: String,
    /// Endpoints whose failure counts against them once another region does better.
    reports: Vec<FailureReport>,
    /// The endpoint that failed last.
    avoid: Option<EndpointId>,
}

impl RequestState<'_> {
    fn answered(&self, region: RegionId, answer: Box<OriginResponse>) -> ChosenResponse {
        ChosenResponse {
            region,
            answer,
            attempts: self.attempts,
            overtaken: None,
            rest: None,
        }
    }
}

/// One attempt that ended.
struct AttemptResult<'a> {
    region: RegionId,
    endpoint: &'a EndpointState,
    /// Whether it was sent because another one was late.
    hedge: bool,
    outcome: Result<Box<OriginResponse>, AttemptError>,
}

impl Proxy {
    /// Tries regions until one answers or the retry table says to stop.
    pub(super) async fn forward(
        &self,
        outgoing: &OutgoingRequest,
        recorder: &mut Recorder,
    ) -> Result<ChosenResponse, ProxyError> {
        let started = self.clock.at(outgoing.started);
        let mut state = RequestState {
            recorder,
            attempts: Attempts::default(),
            fallback: None,
            detail: String::new(),
            reports: Vec::new(),
            avoid: None,
        };
        let mut began = outgoing.started;
        loop {
            let now = self.clock.at(began);
            let left = self.time_left(started, now, outgoing);
            let (region, fresh) = match self.next(outgoing, &state, left, now) {
                Next::Try(region) => (region, false),
                Next::Again(region) => (region, true),
                Next::GiveUp(reason) => {
                    self.report_uncompared(outgoing, &state.reports, reason);
                    let RequestState {
                        attempts,
                        fallback,
                        detail,
                        ..
                    } = state;
                    return fallback.ok_or_else(|| failed(outgoing, &attempts, detail, reason));
                }
            };
            if let Some(last) = state.attempts.last() {
                state.recorder.failing_over(last.region, last.error, region);
            }
            let charge = is_charged(&state.attempts).then(|| self.charged(region));
            let answered = self
                .race(
                    outgoing,
                    &mut state,
                    (region, fresh),
                    (started, began),
                    left,
                )
                .await?;
            drop(charge);
            if let Some(answered) = answered {
                return Ok(answered);
            }
            began = Instant::now();
        }
    }

    /// An attempt at `region`, and, when its answer is late and the request may be repeated, a
    /// second one at the next region beside it. The first good answer wins; the other attempt is
    /// dropped, and its connection with it.
    async fn race(
        &self,
        outgoing: &OutgoingRequest,
        state: &mut RequestState<'_>,
        (region, fresh): (RegionId, bool),
        (started, began): (Timestamp, Instant),
        left: Duration,
    ) -> Result<Option<ChosenResponse>, ProxyError> {
        let hint = EndpointHint {
            probation: outgoing.probation && state.attempts.is_empty(),
            avoid: state.avoid,
        };
        let Some(endpoint) = self.endpoint(outgoing, region, hint) else {
            return Ok(no_endpoint(state, region));
        };
        let _probation =
            (hint.probation && endpoint.standing.is_on_probation()).then(|| self.begin_probation());
        let safe = outgoing.class == RequestClass::Read;
        // Buffered where another region could still give it whole, and where half an answer would
        // leave it open whether a write was done.
        let others = outgoing.decision.ranked.all().len() > state.attempts.len() + 1;
        let buffers = match outgoing.class {
            RequestClass::Read => others,
            RequestClass::Idempotent | RequestClass::Write | RequestClass::KeyedWrite => true,
            // What is said there may be half of a conversation.
            RequestClass::Upgrade | RequestClass::Grpc => false,
        };
        let alone = outgoing.decision.ranked.serving().len() < 2
            && !self.has_another_endpoint(outgoing, region, endpoint.id);
        let is_alone =
            !safe || alone || outgoing.source.is_some() || outgoing.route().retry.attempts < 2;
        // What has to prove itself gets no more time than what is known of it allows.
        let most = match endpoint.standing.is_on_probation() {
            true => PROBATION_HEDGE,
            false => Duration::MAX,
        };
        let patience = (!is_alone).then(|| self.late_after(outgoing, region).min(most));
        let mut to = outgoing.to(region, endpoint, fresh, began, left);
        to.watched_until = patience.map(|patience| began + patience);
        let mut first = pin!(self.attempt(outgoing, region, to, left, buffers));
        let Some(patience) = patience else {
            let tried = self.unaccompanied(outgoing, region, endpoint, first).await;
            return self.settle(outgoing, state, tried);
        };
        let mut until = began + patience;
        let (other, other_endpoint) = loop {
            if let Ok(tried) = timeout_at(until, &mut first).await {
                return self.settle(outgoing, state, tried);
            }
            let left = self.time_left(started, self.clock.now(), outgoing);
            if let Some(second) = self.hedge(outgoing, state, (region, endpoint.id), left) {
                break second;
            }
            until = Instant::now() + patience.min(UNTIL_ROOM);
        };
        let other = AttemptedAt::hedge(other, other_endpoint.address);
        // In a box: hardly a request has a second attempt, and every one would carry its room along.
        let left = self.time_left(started, self.clock.now(), outgoing);
        let to = outgoing.to(other.region, other_endpoint, false, Instant::now(), left);
        let second = Box::pin(self.attempt(outgoing, other.region, to, left, buffers));
        let both = self.both(outgoing, state, (first, second), endpoint, (region, other));
        Box::pin(both).await
    }

    /// An attempt that is late, and a second one beside it.
    async fn both<'a>(
        &self,
        outgoing: &'a OutgoingRequest,
        state: &mut RequestState<'_>,
        (mut first, mut second): (
            Pin<&mut impl Future<Output = AttemptResult<'a>>>,
            Pin<Box<impl Future<Output = AttemptResult<'a>>>>,
        ),
        endpoint: &EndpointState,
        (region, at): (RegionId, AttemptedAt),
    ) -> Result<Option<ChosenResponse>, ProxyError> {
        let other = at.region;
        let charge = self.charged(other);
        let (mut tried, first_ended) = tokio::select! {
            biased;
            tried = &mut first => (tried, true),
            tried = &mut second => (tried, false),
        };
        tried.hedge = !first_ended;
        if let Some(mut answered) = self.settle(outgoing, state, tried)? {
            answered.overtaken = Some(if first_ended { other } else { region });
            state.recorder.hedged(other, !first_ended);
            if first_ended {
                state.recorder.overtaken(at);
            } else {
                let at = AttemptedAt::first(region, endpoint.address);
                state.recorder.overtaken(at);
                self.tell(self.evidence.late(endpoint.id, false));
                self.probation_ended(endpoint, false);
            }
            return Ok(Some(answered));
        }
        let mut tried = if first_ended {
            second.await
        } else {
            first.await
        };
        tried.hedge = first_ended;
        drop(charge);
        let answered = self.settle(outgoing, state, tried)?;
        state
            .recorder
            .hedged(other, first_ended && answered.is_some());
        Ok(answered)
    }

    /// An attempt that no other runs beside. A write that is late is told of while it still waits: a
    /// region that takes writes and never answers them would else be known only by their time-outs.
    async fn unaccompanied<'a>(
        &self,
        outgoing: &OutgoingRequest,
        region: RegionId,
        endpoint: &EndpointState,
        mut attempt: Pin<&mut impl Future<Output = AttemptResult<'a>>>,
    ) -> AttemptResult<'a> {
        let pair = (outgoing.decision.route, region);
        let patience = outgoing.class.is_write();
        let patience = patience.then(|| self.evidence.write_patience(pair));
        if let Some(patience) = patience.flatten() {
            let mut left = patience;
            while !left.is_zero() {
                if let Ok(tried) = timeout(left, &mut attempt).await {
                    return tried;
                }
                // The time that the viewer takes to upload is its own.
                left = match outgoing.source.as_ref().map(ReplaySource::progress) {
                    Some(Progress::AwaitingViewer) => patience,
                    Some(Progress::TakenAt(when)) => patience.saturating_sub(when.elapsed()),
                    None => Duration::ZERO,
                };
            }
            let viewer = outgoing.viewer.address;
            self.tell(self.evidence.late_write(endpoint.id, viewer));
        }
        attempt.await
    }

    /// Takes in how an attempt ended; gives its answer if the viewer may have it.
    fn settle(
        &self,
        outgoing: &OutgoingRequest,
        state: &mut RequestState<'_>,
        tried: AttemptResult<'_>,
    ) -> Result<Option<ChosenResponse>, ProxyError> {
        let AttemptResult {
            region,
            endpoint,
            hedge,
            outcome,
        } = tried;
        let at = AttemptedAt {
            region,
            address: Some(endpoint.address),
            hedge,
        };
        match outcome {
            Ok(answer) => {
                state.recorder.answered(at, &answer);
                let Some(asked_to_wait) = gateway_failure(&answer.response, outgoing.class) else {
                    self.well(outgoing, region, endpoint, &answer);
                    for blame in state.reports.drain(..) {
                        self.blame(outgoing, blame, Verdict::Compared);
                        self.probation_ended_at(blame.endpoint, false);
                    }
                    return Ok(Some(state.answered(region, answer)));
                };
                self.gateway_failed(outgoing, state, (region, endpoint), asked_to_wait);
                if state.fallback.is_none() {
                    state.fallback = Some(state.answered(region, answer));
                }
            }
            Err(AttemptError::Unsendable(_)) => {
                return Err(ProxyError::BadRequest(
                    "The request's host is no host name.",
                ));
            }
            Err(error) => {
                let kind = error.kind();
                state.recorder.failed(at, kind);
                state.avoid = Some(endpoint.id);
                if error.blames_the_origin() {
                    state.reports.push(FailureReport {
                        region,
                        endpoint: endpoint.id,
                        kind,
                    });
                }
                state.attempts.push(Attempt {
                    region,
                    error: kind,
                    asked_to_wait: false,
                });
                state.detail = error.to_string();
            }
        }
        Ok(None)
    }

    /// Takes in that an answer was a gateway's failure, which may have asked to wait.
    fn gateway_failed(
        &self,
        outgoing: &OutgoingRequest,
        state: &mut RequestState<'_>,
        (region, endpoint): (RegionId, &EndpointState),
        put_off: bool,
    ) {
        let error = ErrorKind::GatewayStatus;
        // That this one was asked was our own wish, so it is ours to ask another.
        let our_choice = outgoing.probation && endpoint.standing.is_on_probation();
        let asked_to_wait = put_off && !our_choice;
        state.recorder.gateway_failed(region);
        let blame = FailureReport {
            region,
            endpoint: endpoint.id,
            kind: error,
        };
        state.avoid = Some(endpoint.id);
        if asked_to_wait {
            self.blame(outgoing, blame, Verdict::AskedToWait);
        } else if !put_off {
            state.reports.push(blame);
        }
        state.attempts.push(Attempt {
            region,
            error,
            asked_to_wait,
        });
    }

    pub(super) fn late_after(&self, outgoing: &OutgoingRequest, region: RegionId) -> Duration {
        let probed = outgoing.live.snapshot.regions[region.index()].latency;
        let pair = (outgoing.decision.route, region);
        self.evidence
            .hedge_delay(pair, probed.map(|probed| probed.median))
    }

    /// Where a second attempt goes, charged to its budget; `None` when there is to be none.
    fn hedge<'a>(
        &self,
        outgoing: &'a OutgoingRequest,
        state: &RequestState<'_>,
        (current, endpoint): (RegionId, EndpointId),
        left: Duration,
    ) -> Option<(RegionId, &'a EndpointState)> {
        let spare = self.has_another_endpoint(outgoing, current, endpoint);
        let facts = facts(outgoing, left, spare);
        let now = self.clock.now();
        let budget = &mut *self.budget.borrow_mut();
        let region = hedge(
            &outgoing.decision,
            &state.attempts,
            current,
            &facts,
            budget,
            now,
        )?;
        let hint = EndpointHint {
            avoid: Some(endpoint),
            ..EndpointHint::default()
        };
        let endpoint = self.endpoint(outgoing, region, hint);
        if endpoint.is_none() {
            budget.release(region);
        }
        Some((region, endpoint?))
    }

    fn charged(&self, region: RegionId) -> RetryCharge<&Self> {
        RetryCharge {
            proxy: self,
            region,
        }
    }

    pub(super) fn endpoint<'a>(
        &self,
        outgoing: &'a OutgoingRequest,
        region: RegionId,
        hint: EndpointHint,
    ) -> Option<&'a EndpointState> {
        let endpoints = &outgoing.live.snapshot.regions[region.index()].endpoints;
        let random = |below: usize| self.random.borrow_mut().usize(..below);
        choose(endpoints, hint, |id| self.pools.outstanding(id), random)
    }

    /// Whether `region` has an endpoint that is well, beside the one at hand.
    pub(super) fn has_another_endpoint(
        &self,
        outgoing: &OutgoingRequest,
        region: RegionId,
        at_hand: EndpointId,
    ) -> bool {
        let state = &outgoing.live.snapshot.regions[region.index()];
        let mut endpoints = state.endpoints.iter();
        endpoints.any(|one| one.id != at_hand && one.health != Health::Unhealthy)
    }

    fn next(
        &self,
        outgoing: &OutgoingRequest,
        state: &RequestState<'_>,
        deadline_left: Duration,
        now: Timestamp,
    ) -> Next {
        let last = state.attempts.last().zip(state.avoid);
        let spare = last.is_some_and(|(last, endpoint)| {
            self.has_another_endpoint(outgoing, last.region, endpoint)
        });
        let facts = facts(outgoing, deadline_left, spare);
        let budget = &mut *self.budget.borrow_mut();
        let next = next(&outgoing.decision, &state.attempts, &facts, budget, now);
        if next == Next::GiveUp(GiveUp::BudgetSpent)
            && let Some(last) = state.attempts.last()
        {
            state.recorder.budget_spent(last.region);
        }
        next
    }

    /// Until `timeouts.request` is over. The time a viewer takes to upload is its own.
    fn time_left(
        &self,
        started: Timestamp,
        now: Timestamp,
        outgoing: &OutgoingRequest,
    ) -> Duration {
        let limit = outgoing.route().timeouts.request;
        let since = match outgoing.source.as_ref().map(ReplaySource::progress) {
            Some(Progress::AwaitingViewer) => now,
            Some(Progress::TakenAt(taken)) => now - taken.elapsed(),
            None => started,
        };
        limit.saturating_sub(now.since(since.max(started)))
    }

    async fn attempt<'a>(
        &self,
        outgoing: &'a OutgoingRequest,
        region: RegionId,
        to: AttemptTarget<'a>,
        left: Duration,
        buffers: bool,
    ) -> AttemptResult<'a> {
        let timeouts = &outgoing.route().timeouts;
        let mut outcome = send(&self.pools, &outgoing.head, outgoing.source.as_ref(), to).await;
        if let Ok(answer) = &mut outcome
            && buffers
            // A gateway's failure is judged by its head.
            && gateway_failure(&answer.response, outgoing.class).is_none()
            && let Some(reservation) = self.buffers.reserve_for(&answer.response)
        {
            // The time a viewer takes to upload is its own.
            let until = match &outgoing.source {
                None => to.began + left,
                Some(_) => {
                    let started = self.clock.at(outgoing.started);
                    Instant::now() + self.time_left(started, self.clock.now(), outgoing)
                }
            };
            match buffer(
                answer.response.body_mut(),
                reservation,
                timeouts.body_progress,
                until,
            )
            .await
            {
                Ok(buffered) => {
                    if buffered.has_waited {
                        answer.ready = Instant::now();
                    }
                    answer.buffered = Some(buffered);
                }
                // The connection breaks with the upload beside it.
                Err(_) if outgoing.source.as_ref().is_some_and(ReplaySource::broken) => {
                    outcome = Err(AttemptError::ViewerBody);
                }
                Err(error) => outcome = Err(error),
            }
        }
        AttemptResult {
            region,
            endpoint: to.endpoint,
            hedge: false,
            outcome,
        }
    }
}

fn no_endpoint(state: &mut RequestState<'_>, region: RegionId) -> Option<ChosenResponse> {
    let error = ErrorKind::NoEndpoint;
    state.recorder.failed(AttemptedAt::nowhere(region), error);
    state.attempts.push(Attempt {
        region,
        error,
        asked_to_wait: false,
    });
    state.detail = AttemptError::NoEndpoint.to_string();
    None
}

/// Whether a response is a gateway's failure rather than the service's answer, and then whether
/// it asks to wait instead of trying elsewhere.
pub(super) fn gateway_failure<B>(response: &Response<B>, class: RequestClass) -> Option<bool> {
    let waits = response.headers().contains_key(header::RETRY_AFTER);
    match response.status() {
        StatusCode::TOO_MANY_REQUESTS => Some(true),
        StatusCode::SERVICE_UNAVAILABLE => Some(waits),
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Some(false),
        // A trailers-only response: UNAVAILABLE (14) without a body.
        StatusCode::OK if class == RequestClass::Grpc => {
            let status = response.headers().get("grpc-status")?;
            (status.as_bytes() == b"14").then_some(false)
        }
        _ => None,
    }
}

fn failed(
    outgoing: &OutgoingRequest,
    attempts: &Attempts,
    detail: String,
    gave_up: GiveUp,
) -> ProxyError {
    let Some(last) = attempts.last() else {
        return ProxyError::NoDecision(meridian_core::decide::NoDecision::NoRegion(
            outgoing.decision.route,
        ));
    };
    if last.error == ErrorKind::ViewerBody {
        return ProxyError::ViewerBody;
    }
    let region = Some(
        outgoing
            .live
            .snapshot
            .table
            .region(last.region)
            .name
            .to_string(),
    );
    ProxyError::Failed {
        kind: last.error,
        detail,
        region,
        gave_up,
    }
}
