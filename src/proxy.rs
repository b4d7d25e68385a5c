//! The path of one request, top to bottom: viewer, decision, attempts, answer, record.

pub mod attempt;
pub mod error_response;
pub mod headers;
pub mod host;
pub mod outgoing_request;
pub mod outlier_report;
pub mod peer;
pub mod range_resume;
pub mod recorder;
pub mod response_buffer;
pub mod retry;
pub mod trace;
pub mod upgrade;
pub mod viewer;
pub mod viewer_body;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::board::{Board, Live, LiveCache};
use crate::clock::Clock;
use crate::proxy::attempt::{OriginResponse, OutgoingHead};
use crate::proxy::error_response::ProxyError;
use crate::proxy::headers::{Hop, announce, says_close, strip_hop_by_hop};
use crate::proxy::host::asked_host;
use crate::proxy::outgoing_request::{ChosenResponse, OutgoingRequest};
use crate::proxy::peer::Peer;
use crate::proxy::range_resume::request::ResumeRequest;
use crate::proxy::range_resume::stream::ResumableBody;
use crate::proxy::recorder::Recorder;
use crate::proxy::response_buffer::BufferBudget;
use crate::proxy::trace::TraceContext;
use crate::proxy::upgrade::{Tunnel, is_switching, keep_upgrade_fields};
use crate::proxy::viewer::{resolve, strip_viewer_headers};
use crate::proxy::viewer_body::{ConnectionReturn, OriginBody, UnreadBody, ViewerBody};
use crate::telemetry::access_log::WorkerLog;
use crate::telemetry::record::RequestRecord;
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::{ReplayMemory, ReplaySource};
use crate::upstream::framing::is_only_chunked;
use crate::upstream::pool::{Outstanding, Pools};
use crate::upstream::stall::Stalls;
use meridian_core::config::LimitsConfig;
use meridian_core::decide::budget::Budget;
use meridian_core::decide::failover::{RequestClass, asks_for_upgrade};
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::decide::{RequestFacts, decide};
use meridian_core::model::id::RegionSet;
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::Viewer;
use meridian_core::outlier::Evidence;
use meridian_core::table::RoutingTable;
use meridian_core::table::path::{is_ambiguous, matched_path};

/// Between two requests that one worker spends on probation: ten of them need not take longer than
/// the viewers of a second's outage would notice.
const PROBATION_GAP: Duration = Duration::from_millis(100);

/// Of so many safe requests at most one is spent on probation, or a quiet service's viewers would
/// all wait for a region that is still broken.
const PROBATION_ONE_IN: u32 = 4;

/// What is published, held by one request to its end. Counted per worker, so that workers do not
/// meet at one counter.
#[derive(Clone, Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is the worker's own"
)]
pub struct LiveRef(Rc<Arc<Live>>);

impl Deref for LiveRef {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// Everything one worker needs to serve requests; lives on the worker's thread.
#[derive(Debug)]
pub struct Proxy {
    worker: usize,
    live: RefCell<(LiveCache, LiveRef)>,
    board: Board,
    clock: Clock,
    pools: Pools,
    stalls: Stalls,
    memory: ReplayMemory,
    budget: RefCell<Budget>,
    evidence: Evidence,
    /// When a request was last spent on probation, and whether it still is: one at a time, or all that
    /// came before the first was found late would be late too.
    tried: Cell<Timestamp>,
    trying: Cell<bool>,
    buffers: BufferBudget,
    log: RefCell<WorkerLog>,
    random: RefCell<fastrand::Rng>,
}

/// A request and what was learned of it before it was routed.
struct Arrived {
    parts: Parts,
    source: Option<ReplaySource>,
    viewer: Viewer,
    trace: TraceContext,
    started: Instant,
}

impl Proxy {
    /// The proxy of worker number `worker`.
    #[must_use]
    pub fn new(worker: usize, board: Board, clock: Clock, log: WorkerLog) -> Self {
        let mut cache = board.cache();
        let live = LiveRef(Rc::new(Arc::clone(cache.load())));
        let limits = live.resources.config.limits;
        let workers = live.resources.workers.max(1);
        Self {
            worker,
            board,
            clock,
            pools: Pools::new(&limits),
            stalls: Stalls::default(),
            memory: ReplayMemory::new(limits.replay_bytes, limits.replay_total_bytes / workers),
            budget: RefCell::new(Budget::new(
                limits.retry_budget,
                limits.retry_budget_minimum,
            )),
            evidence: Evidence::default(),
            tried: Cell::default(),
            trying: Cell::default(),
            buffers: BufferBudget::new(limits.replay_total_bytes / workers),
            log: RefCell::new(log),
            random: RefCell::new(fastrand::Rng::new()),
            live: RefCell::new((cache, live)),
        }
    }

    /// From now on keeps these bounds.
    pub fn follow_limits(&self, limits: &LimitsConfig) {
        let workers = self.live().resources.workers.max(1);
        self.pools.follow_limits(limits);
        self.memory
            .follow_limits(limits.replay_bytes, limits.replay_total_bytes / workers);
        self.buffers
            .follow_limit(limits.replay_total_bytes / workers);
        self.budget
            .borrow_mut()
            .follow_limits(limits.retry_budget, limits.retry_budget_minimum);
    }

    /// The worker's number.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What is published now.
    #[must_use]
    pub fn live(&self) -> LiveRef {
        let (cache, held) = &mut *self.live.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(newest, &held.0) {
            self.evidence
                .forget(returning(&held.snapshot, &newest.snapshot));
            *held = LiveRef(Rc::new(Arc::clone(newest)));
        }
        held.clone()
    }

    /// Writes a finished record to the access log.
    pub fn log(&self, record: &mut RequestRecord, table: &RoutingTable) {
        let log = &mut *self.log.borrow_mut();
        if log.is_enabled() {
            record.at = self.clock.unix().saturating_sub(record.duration);
            log.push(record, table);
        }
    }

    /// Bodies that stand still for too long end. To be called every
    /// [`crate::upstream::stall::SWEEP_INTERVAL`].
    pub fn sweep_stalls(&self) {
        self.stalls.sweep(tokio::time::Instant::now());
    }

    /// What has to be done from time to time: old connections close, log lines and counts go out.
    /// To be called several times a second.
    pub fn sweep(&self) {
        self.log.borrow_mut().flush_due();
        let live = self.live();
        let metrics = live.resources.metrics.shard(self.worker);
        metrics.evidence_crowded_out(self.evidence.take_crowded_out());
        metrics.holds_denied(self.buffers.take_denied());
        let refused = self.pools.take_refused();
        metrics.idle_evicted(refused.idle);
        metrics.uploads_cut(refused.parting);
        let window = self
            .evidence
            .drain(live.snapshot.generation, self.clock.now());
        if let Some(window) = window {
            self.board.tell(window);
        }
        let regions = live.snapshot.regions.iter();
        let known: BTreeSet<_> = regions
            .flat_map(|region| region.endpoints.iter().map(|one| one.id))
            .collect();
        let idle = live
            .snapshot
            .table
            .routes
            .iter()
            .map(|route| route.timeouts.idle)
            .max();
        self.pools.sweep(idle.unwrap_or_default(), &known);
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
        let (mut arrived, mut recorder) = self.arrived(&live, peer, request, started);
        let unanswered = Unanswered {
            is_head: arrived.parts.method == Method::HEAD,
            trace: arrived.trace,
            source: arrived.source.clone(),
        };
        let upgrade = arrived.parts.extensions.remove::<OnUpgrade>();
        let outgoing = self.prepare(&live, peer, arrived, &mut recorder);
        async move {
            let outcome = match outgoing {
                Ok(outgoing) => {
                    let outcome = self.forward(&outgoing, &mut recorder).await;
                    self.forwarded(outgoing, outcome)
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(answered) => self.respond(&live, answered, upgrade, recorder),
                Err(error) => unanswered.refuse(&live, &error, recorder),
            }
        }
    }

    /// What the head of a request says of its viewer, and its record.
    fn arrived(
        self: &Rc<Self>,
        live: &LiveRef,
        peer: &Peer,
        request: Request<Incoming>,
        started: Instant,
    ) -> (Arrived, Recorder) {
        let (mut parts, incoming) = request.into_parts();
        let rules = &live.resources.viewer;
        let trusted = |address| peer.listener.trust.contains(address);
        let viewer = resolve(
            &peer.facts(),
            &parts.headers,
            rules,
            trusted,
            &live.resources.geo,
        )
        .viewer;
        let trace = TraceContext::of(&parts.headers, peer.trusted, || {
            self.random.borrow_mut().u64(..)
        });
        let record = self.record(peer, &parts, &trace);
        let mut recorder = Recorder::new(Rc::clone(self), live.clone(), started, record, &viewer);
        if !peer.trusted {
            recorder.stripped(strip_viewer_headers(&mut parts.headers, rules));
        }
        let source = (!incoming.is_end_stream()).then(|| {
            let limit = peer.listener.config.timeouts.body_progress;
            let stall = self.stalls.watch(limit);
            ReplaySource::new(incoming, parts.version, self.memory.clone(), stall)
        });
        if let Some(source) = &source {
            recorder.body(source);
        }
        let arrived = Arrived {
            parts,
            source,
            viewer,
            trace,
            started,
        };
        (arrived, recorder)
    }

    fn record(&self, peer: &Peer, parts: &Parts, trace: &TraceContext) -> RequestRecord {
        // When it began is worked out if its line is written.
        let at = Duration::ZERO;
        let mut record = RequestRecord::begin(at, peer.tcp, parts.method.clone(), parts.version);
        record.trace_id = trace.number();
        record.https = peer.secure;
        record.tls_version = peer.tls_version;
        record.path = parts.uri.path_and_query().cloned();
        if peer.trusted {
            record.request_id = parts.headers.get(headers::X_REQUEST_ID).cloned();
        }
        record
    }

    /// Whether a safe request may be spent on finding out whether an endpoint serves again: one in
    /// [`PROBATION_GAP`], and never more than one of [`PROBATION_ONE_IN`].
    fn may_spend_on_probation(&self, snapshot: &Snapshot) -> bool {
        if snapshot.probation.is_empty() {
            return false;
        }
        let now = self.clock.now();
        let due = !self.trying.get() && now.since(self.tried.get()) >= PROBATION_GAP;
        due && self.random.borrow_mut().u32(..PROBATION_ONE_IN) == 0
    }

    /// A request is spent on probation until the guard is dropped, however that comes about.
    fn begin_probation(&self) -> ProbationRequest<'_> {
        self.tried.set(self.clock.now());
        self.trying.set(true);
        ProbationRequest(&self.trying)
    }

    /// Decides where the request may go and makes it ready to be sent there.
    fn prepare(
        &self,
        live: &LiveRef,
        peer: &Peer,
        arrived: Arrived,
        recorder: &mut Recorder,
    ) -> Result<OutgoingRequest, ProxyError> {
        let parts = &arrived.parts;
        if live.resources.identity.is_in_loop(&parts.headers) {
            return Err(ProxyError::Loop);
        }
        // A coding means a body, be it an empty one.
        let is_coded =
            arrived.source.is_some() && parts.headers.contains_key(header::TRANSFER_ENCODING);
        if is_coded && !is_only_chunked(&parts.headers) {
            let reason = "Transfer codings other than chunked are not served here.";
            return Err(ProxyError::NotForwardable(reason));
        }
        let host = asked_host(parts)?;
        recorder.record().host.clone_from(&host);
        let path = parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if is_ambiguous(path.path()) {
            return Err(ProxyError::BadRequest("The request's path is ambiguous."));
        }
        let facts = RequestFacts {
            host: host.as_ref().and_then(|host| host.to_str().ok()),
            path: &matched_path(if path.path() == "*" { "/" } else { path.path() }),
            viewer: &arrived.viewer,
            probation: arrived.source.is_none()
                && parts.method.is_safe()
                && self.may_spend_on_probation(&live.snapshot)
                && !asks_for_upgrade(&parts.headers),
        };
        let probation = facts.probation;
        let decision = decide(&live.snapshot, &facts)?;
        recorder.decided(&decision);
        self.budget
            .borrow_mut()
            .request_seen(self.clock.at(arrived.started));
        let retry = &live.snapshot.table.route(decision.route).retry;
        Ok(OutgoingRequest {
            live: live.clone(),
            probation: probation && retry.attempts > 1,
            decision,
            class: RequestClass::of(&parts.method, &parts.headers, retry),
            source: arrived.source.clone(),
            viewer: arrived.viewer,
            started: arrived.started,
            head: outgoing_head(live, peer, arrived, (host, path)),
        })
    }

    /// What came of forwarding a request, with what is needed to go on with its answer from elsewhere.
    fn forwarded(
        &self,
        outgoing: OutgoingRequest,
        outcome: Result<ChosenResponse, ProxyError>,
    ) -> Result<ChosenResponse, ProxyError> {
        let malformed = outgoing
            .source
            .as_ref()
            .is_some_and(ReplaySource::malformed);
        match outcome {
            Err(ProxyError::ViewerBody) if malformed => Err(ProxyError::BadRequest(
                "The request's body is framed wrongly.",
            )),
            outcome => outcome.map(|mut answered| {
                answered.rest = ResumeRequest::of(self, outgoing, &answered);
                answered
            }),
        }
    }

    /// An origin's answer on its way to the viewer.
    fn respond(
        self: &Rc<Self>,
        live: &LiveRef,
        answered: ChosenResponse,
        viewer: Option<OnUpgrade>,
        mut recorder: Recorder,
    ) -> Response<ViewerBody> {
        let ChosenResponse {
            region,
            mut answer,
            rest,
            ..
        } = answered;
        let endpoint = answer.endpoint;
        recorder.responding(answer.response.status(), region, answer.ready);
        if is_switching(&answer.response) {
            return switch(answer.response, viewer, answer.outstanding, recorder);
        }
        let route = recorder.record().route;
        let timeouts = route.map(|route| live.snapshot.table.route(route).timeouts);
        let buffered = answer.buffered.take();
        if buffered.is_none() && !answer.response.body().is_end_stream() {
            recorder.body_of(Some((region, endpoint)));
        }
        let mut response = self.origin_body(answer, timeouts.unwrap_or_default().body_progress);
        strip_hop_by_hop(response.headers_mut(), false);
        *response.version_mut() = Version::HTTP_11;
        response.map(|body| match (buffered, rest) {
            // Of a body that is here already only the connection is left to give back.
            (Some(buffered), _) => ViewerBody::buffered(buffered, recorder),
            (None, Some(rest)) => {
                let place = (region, endpoint);
                let body = ResumableBody::new(Rc::clone(self), rest, body, place);
                ViewerBody::resumable(body, recorder)
            }
            (None, None) => ViewerBody::origin(body, recorder),
        })
    }

    /// An answer with its body as it streams, which may stand still for `limit`.
    fn origin_body(&self, answer: Box<OriginResponse>, limit: Duration) -> Response<OriginBody> {
        let answer = *answer;
        let response = answer.response;
        let reusable = response.version() == Version::HTTP_11 && !says_close(response.headers());
        let give_back = ConnectionReturn {
            pools: self.pools.clone(),
            endpoint: answer.endpoint,
            reusable,
        };
        let stall = self.stalls.watch(limit);
        response.map(|body| OriginBody::new(body, give_back, stall, answer.outstanding))
    }
}

/// The head of a request as any origin may get it: without what belongs to the viewer's hop, with
/// what tells of it.
fn outgoing_head(
    live: &LiveRef,
    peer: &Peer,
    arrived: Arrived,
    (host, path): (Option<HeaderValue>, PathAndQuery),
) -> OutgoingHead {
    let parts = arrived.parts;
    let has_body = arrived.source.is_some();
    // One with a body is answered in HTTP: the origin could leave it before the body is there.
    let upgrade =
        parts.version == Version::HTTP_11 && !has_body && asks_for_upgrade(&parts.headers);
    let hop = Hop {
        peer: &peer.viewer_text,
        trusted: peer.trusted,
        secure: peer.secure,
        port: peer.listener.config.address.port(),
        version: parts.version,
        host: host.as_ref(),
    };
    let mut headers = parts.headers;
    strip_hop_by_hop(&mut headers, upgrade);
    // hyper asks the viewer for its body when an origin first takes from it.
    headers.remove(header::EXPECT);
    if !has_body && has_meaningful_content(&parts.method) {
        // Over HTTP/2 the end of the stream says it; HTTP/1.1 servers may answer 411 (RFC 9110
        // section 8.6).
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let identity = &live.resources.identity;
    let added = announce(&mut headers, identity, hop, &arrived.viewer, &arrived.trace);
    OutgoingHead {
        method: parts.method,
        path,
        headers,
        added,
        host,
    }
}

/// A request that is spent on probation.
struct ProbationRequest<'a>(&'a Cell<bool>);

impl Drop for ProbationRequest<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Regions that get requests again, be it a few that try them.
fn returning(before: &Snapshot, now: &Snapshot) -> RegionSet {
    let asked = |snapshot: &Snapshot| snapshot.serving.or(snapshot.probation);
    if before.generation == now.generation {
        asked(now).without(asked(before))
    } else {
        RegionSet::EMPTY
    }
}

/// Whether requests of this method have content as a rule, so that to have none is worth saying.
fn has_meaningful_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Passes a `101` on and joins the two connections after it.
fn switch(
    mut response: Response<AnswerBody>,
    viewer: Option<OnUpgrade>,
    outstanding: Outstanding,
    recorder: Recorder,
) -> Response<ViewerBody> {
    let origin = match response.body_mut() {
        AnswerBody::Http1(body) => body.switched(),
        AnswerBody::Http2(..) => None,
    };
    strip_hop_by_hop(response.headers_mut(), true);
    keep_upgrade_fields(response.headers_mut());
    let (parts, _) = response.into_parts();
    if let (Some(viewer), Some(origin)) = (viewer, origin) {
        Tunnel {
            viewer,
            origin,
            outstanding,
        }
        .start(recorder);
    }
    Response::from_parts(parts, ViewerBody::none())
}

/// What our own answer needs to know of a request, when no origin's can be had.
struct Unanswered {
    is_head: bool,
    trace: TraceContext,
    source: Option<ReplaySource>,
}

impl Unanswered {
    fn refuse(
        &self,
        live: &LiveRef,
        error: &ProxyError,
        mut recorder: Recorder,
    ) -> Response<ViewerBody> {
        recorder.refusing(error.status(), error.proxy_status());
        tracing::debug!(error = %error, "request refused");
        let response = error.response(live.resources.identity.name(), &self.trace.id());
        response.map(|text| {
            let text = if self.is_head { Bytes::new() } else { text };
            ViewerBody::own(text, self.source.as_ref().map(UnreadBody::of), recorder)
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
