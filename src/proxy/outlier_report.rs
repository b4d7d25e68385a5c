//! What attempts prove of endpoints, told to health: at once or once a second.

use std::rc::Rc;
use std::time::Duration;

use crate::board::Board;
use crate::clock::Clock;
use crate::proxy::attempt_result::OriginAnswer;
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::live_view::LiveView;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::telemetry::metrics::WorkerMetrics;
use crate::upstream::body::ReplaySource;
use meridian_core::apply::Event;
use meridian_core::health::breadth::Breadth;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::outlier::{Answer, FailureVerdict, OutlierDetector, RouteRegion};

/// A failure that may count against an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailureReport {
    pub(super) region: RegionId,
    pub(super) endpoint: EndpointId,
    pub(super) kind: ErrorKind,
    /// How often the endpoint had been ejected when the attempt began.
    pub(super) ejections: u32,
    /// When.
    pub(super) failed: Timestamp,
}

/// One worker's outlier detector, and those who hear of what it finds.
#[derive(Debug)]
pub(super) struct OutlierReporter {
    worker: usize,
    clock: Clock,
    detector: Rc<OutlierDetector>,
    view: Rc<LiveView>,
    board: Board,
}

impl OutlierReporter {
    pub(super) fn new(
        worker: usize,
        clock: Clock,
        detector: Rc<OutlierDetector>,
        view: Rc<LiveView>,
        board: Board,
    ) -> Self {
        Self {
            worker,
            clock,
            detector,
            view,
            board,
        }
    }

    /// How late an answer of `region` may be before another one is asked too.
    pub(super) fn hedge_delay(&self, request: &OutgoingRequest, region: RegionId) -> Duration {
        let pair = (request.decision.route(), region);
        self.detector.hedge_delay(pair, probed(request, region))
    }

    /// A failure that may count against an endpoint, now.
    pub(super) fn failure(&self, at: &AttemptedAt, kind: ErrorKind) -> FailureReport {
        FailureReport {
            region: at.region,
            endpoint: at.endpoint,
            kind,
            ejections: at.ejections,
            failed: self.clock.now(),
        }
    }

    /// How late the answer to a write may be; `None` while too little is known of writes.
    pub(super) fn late_write_delay(
        &self,
        request: &OutgoingRequest,
        region: RegionId,
    ) -> Option<Duration> {
        self.detector
            .late_write_delay((request.decision.route(), region))
    }

    /// A good answer clears an endpoint of the failures before it; it beat another attempt if
    /// `raced`.
    pub(super) fn answered(
        &self,
        request: &OutgoingRequest,
        at: &AttemptedAt,
        answer: &OriginAnswer,
        raced: bool,
    ) {
        if !self.is_current(request.live.snapshot.generation) {
            return;
        }
        let took = answer.origin.phases.first_byte.unwrap_or_default();
        let pair = (request.decision.route(), at.region);
        let answer = Answer {
            first_byte: took,
            whole: answer.is_whole(),
            raced,
        };
        let now = || self.clock.now();
        self.tell(
            self.detector
                .answered(pair, at.endpoint, request.mark(), answer, now),
        );
        if request.class.is_write() {
            self.detector.written(pair, at.endpoint, took);
        }
    }

    /// Counts a failure against an endpoint. It ejects only where another region or endpoint did
    /// better with the same request: a path that none serves well speaks against none, and no viewer
    /// can take a region out by asking for it.
    pub(super) fn failed(
        &self,
        request: &OutgoingRequest,
        failure: FailureReport,
        verdict: FailureVerdict,
    ) {
        if !self.counts(
            request.live.snapshot.generation,
            failure.endpoint,
            failure.ejections,
        ) {
            return;
        }
        let pair = (request.decision.route(), failure.region);
        let how = (failure.kind, verdict);
        self.tell(self.detector.failed(
            pair,
            failure.endpoint,
            request.mark(),
            how,
            failure.failed,
        ));
    }

    /// A failure that no better answer followed, so that nothing is proved.
    pub(super) fn inconclusive(&self, failure: FailureReport) {
        self.tell(self.detector.inconclusive(failure.endpoint));
    }

    /// Another region, or endpoint, was asked because this one was late, and answered sooner, after
    /// `took`. Where that is late too, nothing is proved.
    pub(super) fn late(
        &self,
        request: &OutgoingRequest,
        at: &AttemptedAt,
        (faster, took): (RegionId, Duration),
    ) {
        let pair = (request.decision.route(), faster);
        if (self.detector).is_usual(pair, took, probed(request, faster)) {
            self.tell_of_lateness(request, at, false);
        }
    }

    /// The rest of a body came sooner from elsewhere.
    pub(super) fn body_late(&self, request: &OutgoingRequest, at: &AttemptedAt) {
        self.tell_of_lateness(request, at, true);
    }

    /// A write is late, and still waits.
    pub(super) fn late_write(&self, request: &OutgoingRequest, at: &AttemptedAt) {
        if self.counts(request.live.snapshot.generation, at.endpoint, at.ejections) {
            let now = self.clock.now();
            self.tell(self.detector.late_write(at.endpoint, request.mark(), now));
        }
    }

    /// The body of an answer ended as it should.
    pub(super) fn body_ended(&self, endpoint: EndpointId) {
        self.detector.body_ended(endpoint);
    }

    /// A probation request was answered, well or not.
    pub(super) fn probation_ended(&self, endpoint: EndpointId, good: bool) {
        self.count_at(endpoint, |metrics, region| {
            metrics.probation_answered(region, good)
        });
        self.board.tell(Event::ProbationAnswered { endpoint, good });
    }

    /// Tells the board what was counted since the last time, about once a second.
    pub(super) fn sweep(&self, now: Timestamp) {
        let live = self.view.load();
        let metrics = live.resources.metrics.shard(self.worker);
        metrics.outlier_requests_untracked(self.detector.take_untracked());
        if let Some(window) = self.detector.drain(live.snapshot.generation, now) {
            self.board.tell(window);
        }
    }

    fn body_broke(&self, report: &BodyReport) {
        if self.counts(report.generation, report.endpoint, report.ejections) {
            let now = self.clock.now();
            self.tell(
                self.detector
                    .body_failed(report.pair, report.endpoint, report.mark, now),
            );
        }
    }

    fn tell_of_lateness(&self, request: &OutgoingRequest, at: &AttemptedAt, body: bool) {
        if self.counts(request.live.snapshot.generation, at.endpoint, at.ejections) {
            let now = self.clock.now();
            let told = (self.detector).late(at.endpoint, body, request.mark(), now);
            self.tell(told);
        }
    }

    /// Whether what became of an attempt at `endpoint` speaks of it as it is now: it was not ejected
    /// since the attempt began. A write that hung when the fault began ends when the region may be
    /// well again.
    fn counts(&self, generation: u64, endpoint: EndpointId, ejections: u32) -> bool {
        let live = self.view.load();
        let known = live.snapshot.endpoint(endpoint);
        generation == live.snapshot.generation
            && known.is_some_and(|(_, state)| state.standing.ejections() == ejections)
    }

    /// Whether routes and regions still have the numbers that a request began with.
    fn is_current(&self, generation: u64) -> bool {
        generation == self.view.load().snapshot.generation
    }

    fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            if let Event::Suspected { endpoint } = event {
                self.count_at(endpoint, |metrics, region| metrics.suspected(region));
            }
            self.board.tell(event);
        }
    }

    /// Counts something at the region of `endpoint`, while that is known.
    fn count_at(&self, endpoint: EndpointId, count: impl Fn(WorkerMetrics<'_>, RegionId)) {
        let live = self.view.load();
        if let Some((region, _)) = live.snapshot.endpoint(endpoint) {
            count(live.resources.metrics.shard(self.worker), region);
        }
    }
}

/// What probes say that a first byte of `region` takes.
fn probed(request: &OutgoingRequest, region: RegionId) -> Option<Duration> {
    request.live.snapshot.regions[region.index()].latency
}

/// Tells once how the body of an answer ended that streams; nothing if the viewer leaves first.
#[derive(Debug)]
pub(super) struct BodyReport {
    outliers: Rc<OutlierReporter>,
    pair: RouteRegion,
    endpoint: EndpointId,
    mark: Breadth,
    generation: u64,
    ejections: u32,
    upload: Option<ReplaySource>,
}

impl BodyReport {
    pub(super) fn new(
        outliers: Rc<OutlierReporter>,
        request: &OutgoingRequest,
        at: &AttemptedAt,
    ) -> Self {
        Self {
            outliers,
            pair: (request.decision.route(), at.region),
            endpoint: at.endpoint,
            mark: request.mark(),
            generation: request.live.snapshot.generation,
            ejections: at.ejections,
            upload: request.source.clone(),
        }
    }

    /// As it should.
    pub(super) fn ended(self) {
        self.outliers.body_ended(self.endpoint);
    }

    /// It broke off or stood still. If the connection broke with the viewer's upload beside it, that
    /// is no fault of the origin.
    pub(super) fn broke(self) {
        if !self.upload.as_ref().is_some_and(ReplaySource::broken) {
            self.outliers.body_broke(&self);
        }
    }
}
