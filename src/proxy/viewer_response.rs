//! What the viewer gets: an origin's answer, or our own where there is none.

use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Response, Version};
use hyper::upgrade::OnUpgrade;

use crate::proxy::attempt_result::OriginAnswer;
use crate::proxy::error_response::ProxyError;
use crate::proxy::headers::strip_hop_by_hop;
use crate::proxy::incoming_request::IncomingRequest;
use crate::proxy::live_view::LiveRef;
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::outlier_report::BodyReport;
use crate::proxy::range_resume::request::{ResumeRequest, resumable};
use crate::proxy::range_resume::stream::ResumableBody;
use crate::proxy::recorder::Recorder;
use crate::proxy::request_state::ChosenAnswer;
use crate::proxy::trace::TraceContext;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::unread_body::UnreadBody;
use crate::proxy::upgrade::{is_switching, keep_upgrade_fields};
use crate::proxy::upstream_side::UpstreamSide;
use crate::proxy::viewer_body::ViewerBody;
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::ReplaySource;

/// An origin's answer on its way to the viewer.
pub(super) fn respond(
    upstream: &Rc<UpstreamSide>,
    request: OutgoingRequest,
    chosen: ChosenAnswer,
    viewer: Option<OnUpgrade>,
    mut recorder: Recorder,
) -> Response<ViewerBody> {
    let status = chosen.answer.origin.response.status();
    recorder.responding(status, chosen.at.region, chosen.answer.ready());
    if is_switching(&chosen.answer.origin.response) {
        return switch(*chosen.answer.origin, viewer, recorder);
    }
    let at = chosen.at;
    let limit = request.route().timeouts.body_progress;
    let streams = !chosen.answer.is_whole();
    let (resume, report) = match resumable(&request, &chosen) {
        Some(promised) => (Some(ResumeRequest::new(request, &chosen, promised)), None),
        None => {
            let report = || BodyReport::new(Rc::clone(&upstream.outliers), &request, &at);
            (None, streams.then(report))
        }
    };
    let OriginAnswer { origin, buffered } = chosen.answer;
    let upstreams = &upstream.attempts.upstreams;
    let mut response = upstreams.response_body(*origin, at.endpoint, limit, report);
    strip_hop_by_hop(response.headers_mut(), false);
    *response.version_mut() = Version::HTTP_11;
    response.map(|body| match (buffered, resume) {
        // Of a body that is here already only the connection is left to give back.
        (Some(buffered), _) => ViewerBody::buffered(buffered, recorder),
        (None, Some(resume)) => {
            let body = ResumableBody::new(Rc::clone(upstream), resume, body, at);
            ViewerBody::resumable(body, recorder)
        }
        (None, None) => ViewerBody::origin(body, recorder),
    })
}

/// Passes a `101` on and joins the two connections after it.
fn switch(
    answer: OriginResponse,
    viewer: Option<OnUpgrade>,
    recorder: Recorder,
) -> Response<ViewerBody> {
    let OriginResponse {
        mut response,
        outstanding,
        ..
    } = answer;
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
pub(super) struct Unanswered {
    live: LiveRef,
    is_head: bool,
    trace: TraceContext,
    source: Option<ReplaySource>,
}

impl Unanswered {
    pub(super) fn of(live: LiveRef, request: &IncomingRequest) -> Self {
        Self {
            live,
            is_head: request.parts.method == Method::HEAD,
            trace: request.trace,
            source: request.source.clone(),
        }
    }

    /// Our own answer.
    pub(super) fn refuse(
        &self,
        error: &ProxyError,
        mut recorder: Recorder,
    ) -> Response<ViewerBody> {
        recorder.refusing(error.status(), error.proxy_status());
        tracing::debug!(error = %error, "request refused");
        let identity = &self.live.resources.identity;
        let response = error.response(identity.name(), &self.trace.id());
        response.map(|text| {
            let text = if self.is_head { Bytes::new() } else { text };
            let unread = self.source.as_ref().map(UnreadBody::of);
            ViewerBody::own(text, unread, recorder)
        })
    }
}
