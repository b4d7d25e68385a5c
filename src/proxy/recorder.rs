//! Fills the record of one request and writes it once, when it is dropped: a viewer that left
//! is counted too.

use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use crate::proxy::attempt::OriginResponse;
use crate::proxy::{LiveRef, Proxy};
use crate::telemetry::metrics::{CodeClass, ResumeResult, WorkerMetrics};
use crate::telemetry::record::{AttemptOutcome, AttemptRecord, RequestRecord};
use crate::upstream::body::{BodyError, ReplaySource};
use meridian_core::decide::Decision;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::model::viewer::Viewer;

/// Where an attempt went.
#[derive(Clone, Copy, Debug)]
pub struct AttemptedAt {
    /// The region.
    pub region: RegionId,
    /// The address dialled; `None` where there was none to dial.
    pub address: Option<std::net::SocketAddr>,
    /// Whether it was sent because another attempt was late.
    pub hedge: bool,
}

impl AttemptedAt {
    /// An attempt that was not sent beside another one.
    #[must_use]
    pub fn first(region: RegionId, address: std::net::SocketAddr) -> Self {
        Self {
            region,
            address: Some(address),
            hedge: false,
        }
    }

    /// One that was sent because another one was late.
    #[must_use]
    pub fn hedge(region: RegionId, address: std::net::SocketAddr) -> Self {
        Self {
            hedge: true,
            ..Self::first(region, address)
        }
    }

    /// One that had no address to go to.
    #[must_use]
    pub fn nowhere(region: RegionId) -> Self {
        Self {
            region,
            address: None,
            hedge: false,
        }
    }
}

/// One request's record, and where it is written to.
#[derive(Debug)]
pub struct Recorder {
    proxy: Rc<Proxy>,
    live: LiveRef,
    started: Instant,
    record: Box<RequestRecord>,
    source: Option<ReplaySource>,
    /// Whose body is on its way.
    body_of: Option<(RegionId, EndpointId)>,
    completed: bool,
}

impl Recorder {
    /// Begins with what is known from the head.
    #[must_use]
    pub fn new(
        proxy: Rc<Proxy>,
        live: LiveRef,
        started: Instant,
        record: RequestRecord,
        viewer: &Viewer,
    ) -> Self {
        let mut record = Box::new(record);
        record.client = viewer.address;
        record.country = viewer.country;
        record.source = viewer.source;
        record.generation = live.snapshot.generation;
        let this = Self {
            proxy,
            live,
            started,
            record,
            source: None,
            body_of: None,
            completed: false,
        };
        this.metrics().request_started(viewer.source);
        this
    }

    fn metrics(&self) -> WorkerMetrics<'_> {
        self.live.resources.metrics.shard(self.proxy.worker())
    }

    /// What the request is worth telling about itself.
    pub fn record(&mut self) -> &mut RequestRecord {
        &mut self.record
    }

    /// This many viewer fields of an untrusted peer were taken off.
    pub fn stripped(&self, fields: u32) {
        if fields > 0 {
            self.metrics().headers_stripped(u64::from(fields));
        }
    }

    /// Where it may go.
    pub fn decided(&mut self, decision: &Decision) {
        self.record.route = Some(decision.route);
        self.record.rule = Some(decision.rule);
        if let Some(first) = decision.ranked.all().first() {
            self.metrics()
                .decided(decision.route, *first, decision.rule);
        }
    }

    /// The request's body, to count what came.
    pub fn body(&mut self, source: &ReplaySource) {
        self.source = Some(source.clone());
    }

    /// An attempt after the first goes to `to`, because the one at `from` failed.
    pub fn failing_over(&self, from: RegionId, kind: ErrorKind, to: RegionId) {
        if let Some(route) = self.record.route {
            self.metrics().failed_over(route, from, kind);
        }
        self.metrics().retried(to);
    }

    /// A retry was due, but the budget of `region` is spent.
    pub fn budget_spent(&self, region: RegionId) {
        self.metrics().retry_budget_exhausted(region);
    }

    /// An attempt brought a response head.
    pub fn answered(&mut self, at: AttemptedAt, answer: &OriginResponse) {
        let outcome = AttemptOutcome::Answered(answer.response.status().as_u16());
        self.timed(at, answer, outcome);
    }

    /// An attempt at the rest of a body brought a response head, which `fits` or not.
    pub fn continued(&mut self, at: AttemptedAt, answer: &OriginResponse, fits: bool) {
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
    pub fn resumed(&self, region: RegionId, result: ResumeResult) {
        self.metrics().resumed(region, result);
    }

    fn timed(&mut self, at: AttemptedAt, answer: &OriginResponse, outcome: AttemptOutcome) {
        let region = at.region;
        let metrics = self.metrics();
        match (answer.reused, answer.phases.connect) {
            (false, Some(connect)) => {
                metrics.connection_opened(region, connect, answer.phases.tls);
            }
            _ => metrics.connection_reused(region),
        }
        if let (Some(route), Some(first_byte)) = (self.record.route, answer.phases.first_byte) {
            metrics.first_byte(route, region, first_byte);
        }
        self.attempted(at, outcome, answer.phases);
    }

    /// An attempt failed.
    pub fn failed(&mut self, at: AttemptedAt, kind: ErrorKind) {
        self.metrics().attempt_failed(at.region, kind);
        self.attempted(at, AttemptOutcome::Failed(kind), Phases::default());
    }

    /// An answer of `region` was a gateway's failure.
    pub fn gateway_failed(&self, region: RegionId) {
        self.metrics()
            .attempt_failed(region, ErrorKind::GatewayStatus);
    }

    /// A second attempt went to `region` because the first was late; whether it answered first.
    pub fn hedged(&self, region: RegionId, won: bool) {
        self.metrics().hedged(region, won);
    }

    /// The attempt was given up: another one answered first.
    pub fn overtaken(&mut self, at: AttemptedAt) {
        self.attempted(at, AttemptOutcome::Overtaken, Phases::default());
    }

    fn attempted(&mut self, at: AttemptedAt, outcome: AttemptOutcome, phases: Phases) {
        let connect = phases
            .connect
            .map(|tcp| tcp + phases.tls.unwrap_or_default());
        self.record.attempted(AttemptRecord {
            region: at.region,
            endpoint: at.address,
            hedge: at.hedge,
            outcome,
            connect,
            first_byte: phases.first_byte,
        });
    }

    /// The head of the response is about to be sent: an origin's, which was ready at `ready`.
    pub fn responding(&mut self, status: StatusCode, region: RegionId, ready: Instant) {
        self.record.status = Some(status.as_u16());
        self.record.region = Some(region);
        self.record.first_byte = Some(ready.saturating_duration_since(self.started));
    }

    /// The head of the response is about to be sent: our own, for this error (RFC 9209).
    pub fn refusing(&mut self, status: StatusCode, error: &'static str) {
        self.record.status = Some(status.as_u16());
        self.record.error = Some(error);
    }

    /// Body bytes went to the viewer.
    pub fn sent(&mut self, bytes: usize) {
        self.record.bytes_out += bytes as u64;
    }

    /// The body comes from there now; `None`: from nowhere, it broke off and may be resumed.
    pub fn body_of(&mut self, place: Option<(RegionId, EndpointId)>) {
        self.body_of = place;
    }

    /// The response's body broke off.
    pub fn broke(&mut self, error: &BodyError) {
        self.completed = true;
        if self.source.as_ref().is_some_and(ReplaySource::broken) {
            // The connection broke with the viewer's upload beside it: no fault of the origin.
            self.body_of = None;
            self.record.error = Some("http_request_error");
            return;
        }
        if let (Some(route), Some((region, endpoint))) = (self.record.route, self.body_of.take()) {
            self.proxy
                .body_broke(&self.live, (route, region), endpoint, self.record.client);
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
    pub fn completed(&mut self) {
        self.completed = true;
        if let Some((_, endpoint)) = self.body_of.take() {
            self.proxy.body_ended(endpoint);
        }
    }

    /// A tunnel ended after this many bytes from and to the viewer.
    pub fn tunnelled(&mut self, from_viewer: u64, to_viewer: u64) {
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
        self.proxy.log(&mut self.record, &self.live.snapshot.table);
    }
}

/// Not an error of ours, so not in RFC 9209: the viewer closed before it had the whole answer.
const VIEWER_LEFT: &str = "viewer_left";

impl Drop for Recorder {
    fn drop(&mut self) {
        self.finish();
    }
}
