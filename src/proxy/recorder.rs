//! Fills the record of one request and writes it once, when it is dropped: a viewer that left
//! is counted too.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::headers::X_REQUEST_ID;
use crate::proxy::incoming_request::IncomingRequest;
use crate::proxy::live_view::LiveRef;
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::peer::Peer;
use crate::telemetry::access_log::WorkerLog;
use crate::telemetry::metrics::{CodeClass, ResumeResult, WorkerMetrics};
use crate::telemetry::record::{AttemptOutcome, AttemptRecord, RequestRecord};
use crate::upstream::body::{BodyError, ReplaySource};
use meridian_core::decide::Decision;
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::table::RoutingTable;

/// Where one worker's records go.
#[derive(Debug)]
pub(super) struct RecordSink {
    worker: usize,
    clock: Clock,
    log: RefCell<WorkerLog>,
}

impl RecordSink {
    /// The sink of worker number `worker`.
    pub(super) fn new(worker: usize, clock: Clock, log: WorkerLog) -> Self {
        Self {
            worker,
            clock,
            log: RefCell::new(log),
        }
    }

    /// The counters of this worker.
    pub(super) fn metrics<'a>(&self, live: &'a LiveRef) -> WorkerMetrics<'a> {
        live.resources.metrics.shard(self.worker)
    }

    /// Lines that have waited long enough go out.
    pub(super) fn flush_due(&self) {
        self.log.borrow_mut().flush_due();
    }

    /// Writes a finished record to the access log.
    fn write(&self, record: &mut RequestRecord, table: &RoutingTable) {
        let log = &mut *self.log.borrow_mut();
        if log.is_enabled() {
            record.at = self.clock.unix().saturating_sub(record.duration);
            log.push(record, table);
        }
    }
}

/// One request's record, and where it is written to. It is only written: nobody decides by it.
#[derive(Debug)]
pub(super) struct Recorder {
    sink: Rc<RecordSink>,
    live: LiveRef,
    started: Instant,
    record: Box<RequestRecord>,
    source: Option<ReplaySource>,
    completed: bool,
}

impl Recorder {
    /// Begins with what is known from the head.
    pub(super) fn new(
        sink: Rc<RecordSink>,
        live: LiveRef,
        peer: &Peer,
        request: &IncomingRequest,
    ) -> Self {
        let this = Self {
            record: Box::new(begun(&live, peer, request)),
            sink,
            live,
            started: request.started,
            source: request.source.clone(),
            completed: false,
        };
        this.metrics().request_started(request.viewer.source);
        this
    }

    fn metrics(&self) -> WorkerMetrics<'_> {
        self.sink.metrics(&self.live)
    }

    /// The host that it asks for.
    pub(super) fn asks_for(&mut self, host: Option<&HeaderValue>) {
        self.record.host = host.cloned();
    }

    /// This many viewer fields of an untrusted peer were taken off.
    pub(super) fn stripped(&self, fields: u32) {
        if fields > 0 {
            self.metrics().headers_stripped(u64::from(fields));
        }
    }

    /// Where it may go.
    pub(super) fn decided(&mut self, decision: &Decision) {
        self.record.route = Some(decision.route());
        self.record.rule = Some(decision.rule());
        if let Some(first) = decision.ranked().all().first() {
            self.metrics()
                .decided(decision.route(), *first, decision.rule());
        }
    }

    /// An attempt after the first goes to `to`, because the one at `from` failed.
    pub(super) fn failing_over(&self, from: RegionId, kind: ErrorKind, to: RegionId) {
        if let Some(route) = self.record.route {
            self.metrics().failed_over(route, from, kind);
        }
        self.metrics().retried(to);
    }

    /// A retry was due, but the budget of `region` is spent.
    pub(super) fn budget_spent(&self, region: RegionId) {
        self.metrics().retry_budget_exhausted(region);
    }

    /// An attempt brought a response head.
    pub(super) fn answered(&mut self, at: &AttemptedAt, answer: &OriginResponse) {
        let outcome = AttemptOutcome::Answered(answer.response.status().as_u16());
        self.timed(at, answer, outcome);
    }

    /// An attempt at the rest of a body brought a response head, which `fits` or not.
    pub(super) fn continued(&mut self, at: &AttemptedAt, answer: &OriginResponse, fits: bool) {
        let status = answer.response.status().as_u16();
        let (outcome, result) = if fits {
            (AttemptOutcome::Resumed(status), ResumeResult::Resumed)
        } else {
            (AttemptOutcome::Unfit(status), ResumeResult::Unfit)
        };
        self.timed(at, answer, outcome);
        self.resumed(at.region, result);
    }

    /// What came of asking `region` for the rest of a body.
    pub(super) fn resumed(&self, region: RegionId, result: ResumeResult) {
        self.metrics().resumed(region, result);
    }

    fn timed(&mut self, at: &AttemptedAt, answer: &OriginResponse, outcome: AttemptOutcome) {
        let (phases, reused) = (&answer.phases, answer.reused);
        self.metrics()
            .answered(self.record.route, at.region, phases, reused);
        self.attempted(at, outcome, answer.phases);
    }

    /// An attempt failed.
    pub(super) fn failed(&mut self, at: &AttemptedAt, kind: ErrorKind) {
        self.metrics().attempt_failed(at.region, kind);
        self.attempted(at, AttemptOutcome::Failed(kind), Phases::default());
    }

    /// There was no endpoint to send an attempt to.
    pub(super) fn had_no_endpoint(&mut self, region: RegionId) {
        self.metrics().attempt_failed(region, ErrorKind::NoEndpoint);
        self.record.attempted(AttemptRecord {
            region,
            endpoint: None,
            hedge: false,
            outcome: AttemptOutcome::Failed(ErrorKind::NoEndpoint),
            connect: None,
            first_byte: None,
        });
    }

    /// An answer of `region` was a gateway's failure.
    pub(super) fn gateway_failed(&self, region: RegionId) {
        self.metrics()
            .attempt_failed(region, ErrorKind::GatewayStatus);
    }

    /// A second attempt went to `region` because the first was late; whether it answered first.
    pub(super) fn hedged(&self, region: RegionId, won: bool) {
        self.metrics().hedged(region, won);
    }

    /// The attempt was given up: another one answered first.
    pub(super) fn overtaken(&mut self, at: &AttemptedAt) {
        self.attempted(at, AttemptOutcome::Overtaken, Phases::default());
    }

    fn attempted(&mut self, at: &AttemptedAt, outcome: AttemptOutcome, phases: Phases) {
        let connect = phases
            .connect
            .map(|tcp| tcp + phases.tls.unwrap_or_default());
        self.record.attempted(AttemptRecord {
            region: at.region,
            endpoint: Some(at.address),
            hedge: at.hedge,
            outcome,
            connect,
            first_byte: phases.first_byte,
        });
    }

    /// The head of the response is about to be sent: an origin's, which was ready at `ready`.
    pub(super) fn responding(&mut self, status: StatusCode, region: RegionId, ready: Instant) {
        self.record.status = Some(status.as_u16());
        self.record.region = Some(region);
        self.record.first_byte = Some(ready.saturating_duration_since(self.started));
    }

    /// The head of the response is about to be sent: our own, for this error (RFC 9209).
    pub(super) fn refusing(&mut self, status: StatusCode, error: &'static str) {
        self.record.status = Some(status.as_u16());
        self.record.error = Some(error);
    }

    /// Body bytes went to the viewer.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.record.bytes_out += bytes as u64;
    }

    /// The response's body broke off.
    pub(super) fn broke(&mut self, error: &BodyError) {
        self.completed = true;
        if self.source.as_ref().is_some_and(ReplaySource::broken) {
            // The connection broke with the viewer's upload beside it.
            self.record.error = Some("http_request_error");
            return;
        }
        self.record.error = Some(match error {
            BodyError::Broken(_)
            | BodyError::Cut(_)
            | BodyError::Unfinished
            | BodyError::Superseded => "http_response_incomplete",
            BodyError::Stalled => "http_response_timeout",
        });
    }

    /// The response went out whole.
    pub(super) fn completed(&mut self) {
        self.completed = true;
    }

    /// A tunnel ended after this many bytes from and to the viewer.
    pub(super) fn tunnelled(&mut self, from_viewer: u64, to_viewer: u64) {
        self.completed = true;
        self.record.bytes_in += from_viewer;
        self.record.bytes_out += to_viewer;
    }

    fn finish(&mut self) {
        let duration: Duration = self.started.elapsed();
        self.record.duration = duration;
        if let Some(source) = &self.source {
            self.record.bytes_in += source.bytes();
            if !source.replayable() {
                self.metrics().replay_overflowed();
            }
        }
        if !self.completed && self.record.error.is_none() {
            self.record.error = Some(VIEWER_LEFT);
        }
        let metrics = self.metrics();
        metrics.bytes_in(self.record.bytes_in);
        metrics.bytes_out(self.record.bytes_out);
        let class = CodeClass::of(self.record.status);
        metrics.request_done(self.record.route, self.record.region, class, duration);
        let table = &self.live.snapshot.table;
        self.sink.write(&mut self.record, table);
    }
}

/// What is known of a request from its head.
fn begun(live: &LiveRef, peer: &Peer, request: &IncomingRequest) -> RequestRecord {
    let parts = &request.parts;
    // When it began is worked out if its line is written.
    let at = Duration::ZERO;
    let mut record = RequestRecord::begin(at, peer.tcp, parts.method.clone(), parts.version);
    record.trace_id = request.trace.number();
    record.client = request.viewer.address;
    record.country = request.viewer.country;
    record.source = request.viewer.source;
    record.https = peer.secure;
    record.tls_version = peer.tls_version;
    record.path = parts.uri.path_and_query().cloned();
    if peer.trusted {
        record.request_id = parts.headers.get(X_REQUEST_ID).cloned();
    }
    record.generation = live.snapshot.generation;
    record
}

/// Not an error of ours, so not in RFC 9209: the viewer closed before it had the whole answer.
const VIEWER_LEFT: &str = "viewer_left";

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}
