//! Copies of safe requests, sent to what has to prove itself. No viewer waits for one, and none ends
//! because its viewer leaves.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::proxy::attempt::AttemptMessage;
use crate::proxy::attempt_result::{AttemptEnd, AttemptFailure, OriginAnswer, gateway_failure};
use crate::proxy::attempt_target::{
    AttemptKind, AttemptTarget, AttemptTime, AttemptedAt, PermittedEndpoint,
};
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::recorder::RecordSink;
use crate::proxy::upstream_side::UpstreamSide;
use meridian_core::decide::request::{RequestClass, asks_for_upgrade};
use meridian_core::model::id::EndpointId;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;

/// Of a body so much is read: what brought that brings the rest.
const ENOUGH_OF_A_BODY: usize = 1 << 20;

/// So many times as long as a body may stand still is it read: by then it is known whether it does.
const BODY_PATIENCE: u32 = 2;

/// A copy that took so many times as long as the request itself was late, whatever is usual of its
/// region: of that little is known while it is out.
const LATE_BESIDE: u32 = 3;

/// Sends the copies of one worker.
#[derive(Debug)]
pub(super) struct ProbationRequests {
    upstream: Rc<UpstreamSide>,
    records: Rc<RecordSink>,
    /// When the last copy was sent.
    last: Cell<Option<Timestamp>>,
    /// Shared with the copy that is under way: one at a time, or all that were sent before the first
    /// is found late would be late too.
    under_way: Rc<()>,
}

/// Hears how the request itself fared; where nobody tells, a bad answer to its copy proves nothing.
#[derive(Debug)]
pub(super) struct AnsweredBeside(oneshot::Sender<Duration>);

/// The copy of a request, on its way.
struct ProbationRequest {
    upstream: Rc<UpstreamSide>,
    records: Rc<RecordSink>,
    request: OutgoingRequest,
    /// How long the first byte took of a good answer to the request itself.
    beside: oneshot::Receiver<Duration>,
    _under_way: Rc<()>,
}

/// How a copy was answered.
enum CopyEnd {
    /// Well; its first byte took this long.
    Answered(Duration),
    /// Not well.
    Failed,
    /// Not within this.
    Late(Duration),
    /// Too slowly to tell.
    Unknown,
}

impl ProbationRequests {
    pub(super) fn new(upstream: Rc<UpstreamSide>, records: Rc<RecordSink>) -> Self {
        Self {
            upstream,
            records,
            last: Cell::default(),
            under_way: Rc::default(),
        }
    }

    /// Sends a copy of `request` to an endpoint on probation that it may go to, if one is due.
    pub(super) fn copy(&self, request: &OutgoingRequest) -> Option<AnsweredBeside> {
        if request.live.snapshot.probation.is_empty() || !self.is_due(request) {
            return None;
        }
        on_probation(request)?;
        self.last.set(Some(self.started(request)));
        let (told, beside) = oneshot::channel();
        let copy = ProbationRequest {
            upstream: Rc::clone(&self.upstream),
            records: Rc::clone(&self.records),
            request: request.clone(),
            beside,
            _under_way: Rc::clone(&self.under_way),
        };
        tokio::task::spawn_local(copy.run());
        Some(AnsweredBeside(told))
    }

    /// Whether `request` may be sent twice without harm and at no price worth counting.
    fn is_due(&self, request: &OutgoingRequest) -> bool {
        let interval = request.live.snapshot.table.traffic.probation.interval;
        request.class == RequestClass::Read
            && request.source.is_none()
            && !asks_for_upgrade(&request.head.headers)
            && request.route().retry.attempts > 1
            && Rc::strong_count(&self.under_way) == 1
            && (self.last.get()).is_none_or(|last| self.started(request).since(last) >= interval)
    }

    fn started(&self, request: &OutgoingRequest) -> Timestamp {
        self.upstream.attempts.clock.at(request.started)
    }
}

impl AnsweredBeside {
    /// The request itself was answered so.
    pub(super) fn tell(self, request: &OutgoingRequest, answer: &OriginAnswer) {
        let is_good = gateway_failure(&answer.origin.response, request.class).is_none();
        if let (true, Some(took)) = (is_good, answer.origin.phases.first_byte) {
            // If the copy has ended, nobody asks.
            let _ = self.0.send(took);
        }
    }
}

impl ProbationRequest {
    async fn run(mut self) {
        let Some(endpoint) = on_probation(&self.request) else {
            return;
        };
        let at = AttemptedAt::new(endpoint, AttemptKind::InTurn);
        let usual = (self.upstream.outliers).hedge_delay(&self.request, at.region);
        let hedge = &self.request.live.snapshot.table.traffic.hedge;
        // What takes longer than any answer may before another region is asked too is not waited for.
        let most = usual.max(hedge.max_delay);
        let end = timeout(most, self.attempt(endpoint, most)).await;
        let end = match end {
            Ok(Ok(answer)) => self.whole(at.endpoint, answer).await,
            Ok(Err(end)) => end,
            Err(_) => CopyEnd::Late(most),
        };
        if let Some(good) = is_good(end, usual, &mut self.beside).await {
            self.upstream.outliers.probation_ended(at.endpoint, good);
        }
    }

    /// The answer to the copy, if it is a good one.
    async fn attempt(
        &self,
        endpoint: PermittedEndpoint<'_>,
        left: Duration,
    ) -> Result<OriginAnswer, CopyEnd> {
        let time = AttemptTime {
            began: Instant::now(),
            left,
            watched_until: None,
        };
        let target = AttemptTarget::new(&self.request, endpoint, AttemptKind::InTurn, time);
        let region = target.at().region;
        let message = AttemptMessage::Request { buffers: true };
        let result = (self.upstream.attempts).run(&self.request, message, target);
        let end = result.await.end;
        let metrics = self.records.metrics(&self.request.live);
        if let AttemptEnd::Answered(answer) | AttemptEnd::GatewayFailure { answer, .. } = &end {
            let route = Some(self.request.decision.route());
            let origin = &answer.origin;
            metrics.answered(route, region, &origin.phases, origin.reused);
        }
        let kind = match end {
            AttemptEnd::Answered(answer) => return Ok(answer),
            AttemptEnd::GatewayFailure { .. } => ErrorKind::GatewayStatus,
            AttemptEnd::Failed(error) => AttemptFailure::of(&error).kind,
        };
        metrics.attempt_failed(region, kind);
        Err(CopyEnd::Failed)
    }

    /// Reads as much of the answer's body as it takes to tell.
    async fn whole(&self, endpoint: EndpointId, answer: OriginAnswer) -> CopyEnd {
        let took = answer.origin.phases.first_byte.unwrap_or_default();
        let is_whole = answer.is_whole();
        let limit = self.request.route().timeouts.body_progress;
        let upstreams = &self.upstream.attempts.upstreams;
        let response = upstreams.response_body(*answer.origin, endpoint, limit, None);
        if is_whole {
            return CopyEnd::Answered(took);
        }
        let mut body = response.into_body();
        let reads = async {
            let mut read = 0;
            while read < ENOUGH_OF_A_BODY {
                match poll_fn(|cx| body.poll_frame(cx)).await {
                    None => break,
                    Some(Ok(frame)) => read += frame.data_ref().map_or(0, bytes::Bytes::len),
                    Some(Err(_)) => return CopyEnd::Failed,
                }
            }
            CopyEnd::Answered(took)
        };
        let end = timeout(limit * BODY_PATIENCE, reads).await;
        end.unwrap_or(CopyEnd::Unknown)
    }
}

/// Whether a copy was answered well, where `usual` is not late yet; `None` where nothing is proved,
/// since the request itself fared no better.
async fn is_good(
    end: CopyEnd,
    usual: Duration,
    beside: &mut oneshot::Receiver<Duration>,
) -> Option<bool> {
    if matches!(end, CopyEnd::Answered(took) if took <= usual) {
        return Some(true);
    }
    let late = beside.await.ok()?.saturating_mul(LATE_BESIDE);
    match end {
        CopyEnd::Answered(took) => Some(took <= late),
        CopyEnd::Failed => Some(false),
        CopyEnd::Late(waited) => (waited > late).then_some(false),
        CopyEnd::Unknown => None,
    }
}

/// The endpoint on probation that `request` may go to.
fn on_probation(request: &OutgoingRequest) -> Option<PermittedEndpoint<'_>> {
    let snapshot = &request.live.snapshot;
    let permitted = request.decision.permitted();
    let mut regions = snapshot.probation.iter();
    regions.find_map(|region| {
        PermittedEndpoint::of(permitted.get(region)?, snapshot, |endpoints| {
            let mut endpoints = endpoints.iter();
            endpoints.find(|one| one.standing.is_on_probation())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    /// How a copy is judged beside a request that took so many milliseconds, or was not answered
    /// well; 250 are not late yet.
    async fn judged(end: CopyEnd, beside: Option<u64>) -> Option<bool> {
        let (told, mut heard) = oneshot::channel();
        match beside {
            Some(took) => told.send(MILLIS(took)).unwrap(),
            None => drop(told),
        }
        is_good(end, MILLIS(250), &mut heard).await
    }

    #[tokio::test]
    async fn what_comes_in_time_is_good_however_the_request_itself_fared() {
        for beside in [Some(1), Some(900), None] {
            let end = CopyEnd::Answered(MILLIS(250));
            assert_eq!(judged(end, beside).await, Some(true));
        }
    }

    #[tokio::test]
    async fn what_is_late_is_bad_only_beside_a_faster_one() {
        let late = |took| CopyEnd::Answered(MILLIS(took));
        assert_eq!(judged(late(400), Some(20)).await, Some(false));
        assert_eq!(judged(late(400), Some(390)).await, Some(true));
        assert_eq!(judged(late(400), None).await, None);
        let waits = || CopyEnd::Late(MILLIS(1000));
        assert_eq!(judged(waits(), Some(20)).await, Some(false));
        assert_eq!(judged(waits(), Some(800)).await, None);
    }

    #[tokio::test]
    async fn a_failure_is_bad_only_where_the_request_itself_was_answered_well() {
        assert_eq!(judged(CopyEnd::Failed, Some(900)).await, Some(false));
        assert_eq!(judged(CopyEnd::Failed, None).await, None);
        assert_eq!(judged(CopyEnd::Unknown, Some(1)).await, None);
    }
}
