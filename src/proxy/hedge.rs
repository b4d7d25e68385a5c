//! An attempt, and a second one beside it where the first is late.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::proxy::attempt::AttemptMessage;
use crate::proxy::attempt_result::AttemptResult;
use crate::proxy::attempt_target::{
    AttemptKind, AttemptTarget, AttemptTime, AttemptedAt, PermittedEndpoint,
};
use crate::proxy::error_response::ProxyError;
use crate::proxy::late_write::watch_for_late_write;
use crate::proxy::request_state::{ChosenAnswer, RequestState};
use crate::proxy::retry_budget::{RetryCharge, RetryStep};
use meridian_core::decide::request::RequestClass;
use meridian_core::hedge_delay::is_worker_late;

/// A budget that is spent now has room again as soon as the attempts that spent it end, and a worker that
/// was late has read what came meanwhile.
const BEFORE_ANOTHER_LOOK: Duration = Duration::from_millis(25);

/// An attempt at the region of `step`, and, when its answer is late and the request may be
/// repeated, a second one at the next region beside it. The first good answer wins; the other
/// attempt is dropped, and its connection with it.
pub(super) async fn attempt(
    state: &mut RequestState<'_>,
    step: &RetryStep,
    began: Instant,
    left: Duration,
) -> Result<Option<ChosenAnswer>, ProxyError> {
    let (upstream, request) = (state.upstream, state.request);
    let avoid = state.failed.last_endpoint();
    let (snapshot, upstreams) = (&request.live.snapshot, &upstream.attempts.upstreams);
    let Some(endpoint) = upstreams.choose(snapshot, step.region, avoid) else {
        state.had_no_endpoint(step.region.id());
        return Ok(None);
    };
    let at = AttemptedAt::new(endpoint, step.kind);
    let delay = hedge_delay(state, &at);
    let time = AttemptTime {
        began,
        left,
        watched_until: delay.map(|delay| began + delay),
    };
    let message = AttemptMessage::Request {
        buffers: buffers(state),
    };
    let target = AttemptTarget::new(request, endpoint, step.kind, time);
    let mut first = pin!(upstream.attempts.run(request, message, target));
    let Some(delay) = delay else {
        let result = watch_for_late_write(&upstream.outliers, request, &at, first).await;
        return state.settle(result, None);
    };
    let mut until = began + delay;
    let hedge = loop {
        if let Ok(result) = timeout_at(until, &mut first).await {
            return state.settle(result, None);
        }
        if !is_worker_late(until.elapsed(), delay)
            && let Some(hedge) = Hedge::of(state, &at)
        {
            break hedge;
        }
        until = Instant::now() + delay.min(BEFORE_ANOTHER_LOOK);
    };
    // In a box: hardly a request has a second attempt, and every one would carry its room along.
    Box::pin(race(state, first, &at, hedge, message)).await
}

/// How late an answer may be before another region is asked too; `None` where none may be.
fn hedge_delay(state: &RequestState<'_>, at: &AttemptedAt) -> Option<Duration> {
    let request = state.request;
    let alone = request.decision.ranked().well().len() < 2
        && !request.has_another_endpoint(at.region, at.endpoint);
    let may_hedge = request.class == RequestClass::Read
        && !alone
        && request.source.is_none()
        && request.route().retry.attempts >= 2;
    may_hedge.then(|| state.upstream.outliers.hedge_delay(request, at.region))
}

/// Whether a small answer is buffered: where another region could still give it whole, and where
/// half an answer would leave it open whether a write was done.
fn buffers(state: &RequestState<'_>) -> bool {
    let request = state.request;
    match request.class {
        RequestClass::Read => request.decision.ranked().all().len() > state.failed.made().len() + 1,
        RequestClass::Idempotent | RequestClass::Write | RequestClass::KeyedWrite => true,
        // What is said there may be half of a conversation.
        RequestClass::Upgrade | RequestClass::Grpc => false,
    }
}

/// Where a second attempt goes.
struct Hedge<'a> {
    charge: RetryCharge,
    endpoint: PermittedEndpoint<'a>,
}

impl<'a> Hedge<'a> {
    /// Where one goes beside the attempt at `late`, charged to its budget; `None` when there is to
    /// be none.
    fn of(state: &RequestState<'a>, late: &AttemptedAt) -> Option<Self> {
        let (upstream, request) = (state.upstream, state.request);
        let now = upstream.attempts.clock.now();
        let left = state.time_left(now);
        let other_endpoint = request.has_another_endpoint(late.region, late.endpoint);
        let facts = request.retry_facts(left, other_endpoint);
        let (decision, made) = (&request.decision, state.failed.made());
        let charge = upstream
            .retries
            .hedge(decision, made, late.region, &facts, now)?;
        let avoid = Some(late.endpoint);
        let (snapshot, upstreams) = (&request.live.snapshot, &upstream.attempts.upstreams);
        let endpoint = upstreams.choose(snapshot, charge.region(), avoid)?;
        Some(Self { charge, endpoint })
    }
}

/// An attempt that is late, and a second one beside it.
async fn race(
    state: &mut RequestState<'_>,
    mut first: Pin<&mut impl Future<Output = AttemptResult>>,
    late: &AttemptedAt,
    hedge: Hedge<'_>,
    message: AttemptMessage<'_>,
) -> Result<Option<ChosenAnswer>, ProxyError> {
    let (upstream, request) = (state.upstream, state.request);
    let region = hedge.charge.region().id();
    let time = AttemptTime {
        left: state.time_left(upstream.attempts.clock.now()),
        began: Instant::now(),
        watched_until: None,
    };
    let target = AttemptTarget::new(request, hedge.endpoint, AttemptKind::Hedge, time);
    let other = target.at();
    let mut second = pin!(upstream.attempts.run(request, message, target));
    let (result, first_ended) = tokio::select! {
        biased;
        result = &mut first => (result, true),
        result = &mut second => (result, false),
    };
    let beside = if first_ended { &other } else { late };
    if let Some(chosen) = state.settle(result, Some(beside.region))? {
        state.recorder.hedged(region, !first_ended);
        state.recorder.overtaken(beside);
        if !first_ended {
            let took = chosen.answer.origin.phases.first_byte.unwrap_or_default();
            upstream.outliers.late(request, late, (region, took));
        }
        return Ok(Some(chosen));
    }
    let result = if first_ended {
        second.await
    } else {
        first.await
    };
    let chosen = state.settle(result, None)?;
    state
        .recorder
        .hedged(region, first_ended && chosen.is_some());
    Ok(chosen)
}
