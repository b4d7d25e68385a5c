//! What came of one attempt.

use http::header;
use http::{Response, StatusCode};
use hyper::body::Body;
use tokio::time::Instant;

use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::response_buffer::BufferedBody;
use meridian_core::decide::request::RequestClass;
use meridian_core::model::outcome::ErrorKind;

/// One attempt that ended, whatever it was made for.
#[derive(Debug)]
pub(super) struct AttemptResult {
    /// Where it went.
    pub(super) at: AttemptedAt,
    /// How it ended.
    pub(super) end: AttemptEnd,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum AttemptEnd {
    /// The service answered.
    Answered(OriginAnswer),
    /// A gateway answered that the service cannot.
    GatewayFailure {
        /// What it said.
        answer: OriginAnswer,
        /// Whether it asks to wait instead of trying elsewhere.
        asks_to_wait: bool,
    },
    /// No answer.
    Failed(AttemptError),
}

/// How an attempt failed, and whom that speaks against.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptFailure {
    pub(super) kind: ErrorKind,
    pub(super) fault: AttemptFault,
}

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptFault {
    /// The endpoint, if another one does better.
    Endpoint,
    /// Nobody by itself: it asks to wait. Where most requests hear that, the region is overloaded.
    AskedToWait,
    /// Nobody that is known.
    Nobody,
}

impl AttemptFailure {
    /// A body that cannot be gone on with. Whether that speaks against anybody is told elsewhere.
    pub(super) const BODY_BROKEN: Self = Self {
        kind: ErrorKind::BodyBroken,
        fault: AttemptFault::Nobody,
    };

    /// A gateway's failure.
    pub(super) fn of_gateway(asks_to_wait: bool) -> Self {
        let fault = match asks_to_wait {
            true => AttemptFault::AskedToWait,
            false => AttemptFault::Endpoint,
        };
        let kind = ErrorKind::GatewayStatus;
        Self { kind, fault }
    }

    /// No answer.
    pub(super) fn of(error: &AttemptError) -> Self {
        let fault = match error.blames_the_origin() {
            true => AttemptFault::Endpoint,
            false => AttemptFault::Nobody,
        };
        let kind = error.kind();
        Self { kind, fault }
    }
}

/// An answer, and its body where that was buffered until it was whole.
#[derive(Debug)]
pub(super) struct OriginAnswer {
    pub(super) origin: Box<OriginResponse>,
    pub(super) buffered: Option<BufferedBody>,
}

impl OriginAnswer {
    /// One whose body is not waited for.
    pub(super) fn streaming(origin: Box<OriginResponse>) -> Self {
        Self {
            origin,
            buffered: None,
        }
    }

    /// Whether all of it is here, to the last byte.
    pub(super) fn is_whole(&self) -> bool {
        self.buffered.is_some() || self.origin.response.body().is_end_stream()
    }

    /// When as much of it was here as the viewer's answer waits for.
    pub(super) fn ready(&self) -> Instant {
        let whole = self.buffered.as_ref().and_then(|body| body.ready);
        whole.unwrap_or(self.origin.ready)
    }
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
