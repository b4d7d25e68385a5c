//! A request as it came, and what was learned of it before it was routed.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::proxy::error_response::ProxyError;
use crate::proxy::headers::{Hop, announce, strip_hop_by_hop};
use crate::proxy::live_view::LiveRef;
use crate::proxy::loop_detection::refuse_loop;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::proxy::peer::Peer;
use crate::proxy::trace::TraceContext;
use crate::proxy::upstreams::Upstreams;
use crate::proxy::viewer::resolve;
use crate::upstream::body::ReplaySource;
use crate::upstream::framing::is_only_chunked;
use meridian_core::decide::request::asks_for_upgrade;
use meridian_core::model::viewer::Viewer;
use meridian_core::table::path::is_ambiguous;

/// A request and what was learned of it before it was routed.
pub(super) struct IncomingRequest {
    pub(super) parts: Parts,
    /// Its body, if it has one.
    pub(super) source: Option<ReplaySource>,
    pub(super) viewer: Viewer,
    pub(super) trace: TraceContext,
    /// When it came.
    pub(super) started: Instant,
}

impl IncomingRequest {
    /// Reads what its head says of its viewer. `random` gives random words.
    pub(super) fn read(
        request: Request<Incoming>,
        peer: &Peer,
        live: &LiveRef,
        upstreams: &Upstreams,
        started: Instant,
        random: impl FnMut() -> u64,
    ) -> Self {
        let (parts, incoming) = request.into_parts();
        let rules = &live.resources.viewer;
        let trusted = |address| peer.listener.trust.contains(address);
        let geo = &live.resources.geo;
        let viewer = resolve(&peer.facts(), &parts.headers, rules, trusted, geo);
        let trace = TraceContext::of(&parts.headers, peer.trusted, random);
        let limit = peer.listener.config.timeouts.body_progress;
        let source = upstreams.request_body(incoming, parts.version, limit);
        Self {
            parts,
            source,
            viewer,
            trace,
            started,
        }
    }

    /// # Errors
    /// If it came through here before, or is coded in a way that is not served.
    pub(super) fn check(&self, live: &LiveRef) -> Result<(), ProxyError> {
        let headers = &self.parts.headers;
        refuse_loop(&live.resources.identity, headers)?;
        // A coding means a body, be it an empty one.
        let is_coded = self.source.is_some() && headers.contains_key(header::TRANSFER_ENCODING);
        if is_coded && !is_only_chunked(headers) {
            let reason = "Transfer codings other than chunked are not served here.";
            return Err(ProxyError::NotForwardable(reason));
        }
        Ok(())
    }

    /// The path it asks for, with its query.
    ///
    /// # Errors
    /// If an origin might read it as another one than we do.
    pub(super) fn path(&self) -> Result<PathAndQuery, ProxyError> {
        let path = self.parts.uri.path_and_query().cloned();
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if is_ambiguous(path.path()) {
            return Err(ProxyError::BadRequest("The request's path is ambiguous."));
        }
        Ok(path)
    }

    /// Its head as any origin may get it: without what belongs to the viewer's hop, with what tells
    /// of it.
    pub(super) fn into_head(
        self,
        live: &LiveRef,
        peer: &Peer,
        host: Option<HeaderValue>,
        path: PathAndQuery,
    ) -> OutgoingHead {
        let parts = self.parts;
        let has_body = self.source.is_some();
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
        let added = announce(&mut headers, identity, hop, &self.viewer, &self.trace);
        OutgoingHead {
            method: parts.method,
            path,
            headers,
            added,
            host,
        }
    }
}

/// Whether requests of this method have content as a rule, so that to have none is worth saying.
fn has_meaningful_content(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}
