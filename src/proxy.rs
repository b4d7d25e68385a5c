//! The path of one request, top to bottom: viewer, decision, attempts, answer, record.

mod attempt;
mod attempt_error;
mod attempt_result;
mod attempt_target;
mod error_response;
mod failed_attempts;
mod headers;
mod hedge;
mod host;
mod incoming_request;
mod late_write;
mod live_view;
mod loop_detection;
mod one_exchange;
mod origin_body;
mod origin_response;
mod outgoing_head;
mod outgoing_request;
mod outlier_report;
pub mod peer;
mod probation_requests;
mod range_resume;
mod recorder;
mod request_state;
mod response_buffer;
mod retry;
mod retry_budget;
mod stale_connection;
mod trace;
mod tunnel;
mod unread_body;
mod upgrade;
mod upstream_side;
mod upstreams;
pub mod viewer;
mod viewer_body;
mod viewer_response;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::board::Board;
use crate::clock::Clock;
use crate::proxy::attempt::AttemptRunner;
use crate::proxy::error_response::ProxyError;
use crate::proxy::host::asked_host;
use crate::proxy::incoming_request::IncomingRequest;
use crate::proxy::live_view::{LiveRef, LiveView};
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::outlier_report::OutlierReporter;
use crate::proxy::peer::Peer;
use crate::proxy::probation_requests::ProbationRequests;
use crate::proxy::recorder::{RecordSink, Recorder};
use crate::proxy::response_buffer::BufferBudget;
use crate::proxy::retry::forward;
use crate::proxy::retry_budget::RetryBudget;
use crate::proxy::upstream_side::UpstreamSide;
use crate::proxy::upstreams::Upstreams;
use crate::proxy::viewer::strip_viewer_headers;
use crate::proxy::viewer_body::ViewerBody;
use crate::proxy::viewer_response::{Unanswered, respond};
use crate::telemetry::access_log::WorkerLog;
use meridian_core::config::LimitsConfig;
use meridian_core::decide::decide;
use meridian_core::decide::heavy_hitters::HeavyHitters;
use meridian_core::decide::request::{RequestClass, RequestFacts};
use meridian_core::outlier::OutlierDetector;
use meridian_core::table::path::matched_path;

/// What one worker serves requests with; lives on the worker's thread.
#[derive(Debug)]
pub struct Proxy {
    view: Rc<LiveView>,
    clock: Clock,
    upstream: Rc<UpstreamSide>,
    probation: ProbationRequests,
    records: Rc<RecordSink>,
    heavy_hitters: RefCell<HeavyHitters>,
    random: RefCell<fastrand::Rng>,
}

impl Proxy {
    /// The proxy of worker number `worker`.
    #[must_use]
    pub fn new(worker: usize, board: Board, clock: Clock, log: WorkerLog) -> Self {
        let detector = Rc::<OutlierDetector>::default();
        let view = Rc::new(LiveView::new(&board, Rc::clone(&detector)));
        let outliers = OutlierReporter::new(worker, clock, detector, Rc::clone(&view), board);
        let live = view.load();
        let limits = &live.resources.config.limits;
        let workers = live.resources.workers.max(1);
        let upstream = UpstreamSide {
            attempts: AttemptRunner {
                clock,
                upstreams: Upstreams::new(limits, workers),
                buffers: BufferBudget::new(limits.replay_total_bytes / workers),
            },
            retries: RetryBudget::new(limits),
            outliers: Rc::new(outliers),
            view: Rc::clone(&view),
        };
        let upstream = Rc::new(upstream);
        let records = Rc::new(RecordSink::new(worker, clock, log));
        let probation = ProbationRequests::new(Rc::clone(&upstream), Rc::clone(&records));
        Self {
            view,
            clock,
            upstream,
            probation,
            records,
            heavy_hitters: RefCell::default(),
            random: RefCell::default(),
        }
    }

    /// From now on keeps these bounds.
    pub fn follow_limits(&self, limits: &LimitsConfig) {
        let workers = self.live().resources.workers.max(1);
        let AttemptRunner {
            upstreams, buffers, ..
        } = &self.upstream.attempts;
        upstreams.follow_limits(limits, workers);
        buffers.follow_limit(limits.replay_total_bytes / workers);
        self.upstream.retries.follow_limits(limits);
    }

    /// What is published now.
    #[must_use]
    pub fn live(&self) -> LiveRef {
        self.view.load()
    }

    /// Bodies that stand still for too long end. To be called every
    /// `upstream::stall::SWEEP_INTERVAL`.
    pub fn sweep_stalls(&self) {
        self.upstream
            .attempts
            .upstreams
            .stalls
            .sweep(Instant::now());
    }

    /// What has to be done from time to time: old connections close, log lines and counts go out.
    /// To be called several times a second.
    pub fn sweep(&self) {
        self.records.flush_due();
        let live = self.live();
        let metrics = self.records.metrics(&live);
        let AttemptRunner {
            upstreams, buffers, ..
        } = &self.upstream.attempts;
        metrics.response_buffers_denied(buffers.take_denied());
        let refused = upstreams.pools.take_refused();
        metrics.idle_evicted(refused.idle);
        metrics.uploads_cut(refused.lingering);
        metrics.stale_connections_exhausted(refused.stale);
        self.upstream.outliers.sweep(self.clock.now());
        let regions = live.snapshot.regions.iter();
        let known: BTreeSet<_> = regions
            .flat_map(|region| region.endpoints.iter().map(|one| one.id))
            .collect();
        let routes = live.snapshot.table.routes.iter();
        let idle = routes.map(|route| route.timeouts.idle).max();
        upstreams.pools.sweep(idle.unwrap_or_default(), &known);
    }

    /// Serves one request: with an origin's answer, or our own when there is none. What needs no
    /// waiting is done before the future is made, so that it holds only what must wait.
    pub fn handle(
        self: Rc<Self>,
        peer: &Peer,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<ViewerBody>> + use<> {
        // The clock is looked at when a request begins, when its answer does, and at its end: each
        // look costs as much as a hundred instructions.
        let started = Instant::now();
        let live = self.live();
        let upstreams = &self.upstream.attempts.upstreams;
        let random = || self.random.borrow_mut().u64(..);
        let mut incoming = IncomingRequest::read(request, peer, &live, upstreams, started, random);
        let records = Rc::clone(&self.records);
        let mut recorder = Recorder::new(records, live.clone(), peer, &incoming);
        if !peer.trusted {
            let rules = &live.resources.viewer;
            recorder.stripped(strip_viewer_headers(&mut incoming.parts.headers, rules));
        }
        let upgrade = incoming.parts.extensions.remove::<OnUpgrade>();
        let unanswered = Unanswered::of(live.clone(), &incoming);
        let prepared = self.prepare(live, peer, incoming, &mut recorder);
        async move {
            let request = match prepared {
                Ok(request) => request,
                Err(error) => return unanswered.refuse(&error, recorder),
            };
            let copied = self.probation.copy(&request);
            match forward(&self.upstream, &request, &mut recorder).await {
                Ok(chosen) => {
                    if let Some(copied) = copied {
                        copied.tell(&request, &chosen.answer);
                    }
                    respond(&self.upstream, request, chosen, upgrade, recorder)
                }
                Err(error) => unanswered.refuse(&error, recorder),
            }
        }
    }

    /// Decides where the request may go and makes it ready to be sent there.
    fn prepare(
        &self,
        live: LiveRef,
        peer: &Peer,
        incoming: IncomingRequest,
        recorder: &mut Recorder,
    ) -> Result<OutgoingRequest, ProxyError> {
        incoming.check(&live)?;
        let host = asked_host(&incoming.parts)?;
        recorder.asks_for(host.as_ref());
        let asked = incoming.path()?;
        let path = asked.path();
        let method = &incoming.parts.method;
        let class = RequestClass::of(method, &incoming.parts.headers);
        let random = || self.random.borrow_mut().u64(..);
        let address = incoming.viewer.address;
        let draw = self.heavy_hitters.borrow_mut().draw(address, random);
        let facts = RequestFacts {
            host: host.as_ref().and_then(|host| host.to_str().ok()),
            path: &matched_path(if path == "*" { "/" } else { path }),
            method,
            class,
            viewer: &incoming.viewer,
            draw,
        };
        let decision = decide(&live.snapshot, &facts)?;
        recorder.decided(&decision);
        let started = self.clock.at(incoming.started);
        self.upstream.retries.request_seen(started);
        Ok(OutgoingRequest {
            class: class.on(&live.snapshot.table.route(decision.route()).retry),
            decision,
            draw,
            source: incoming.source.clone(),
            viewer: incoming.viewer,
            started: incoming.started,
            head: incoming.into_head(&live, peer, host, asked),
            live,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_output<A, B, C, R>(_: impl FnOnce(A, B, C) -> R) -> usize {
        size_of::<R>()
    }

    /// It is moved as a whole, and its room is held by every request that waits.
    #[test]
    fn the_future_of_a_request_is_small() {
        let size = size_of_output(Proxy::handle);
        assert!(size <= 3584, "{size}");
    }
}
