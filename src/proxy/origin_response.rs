//! What an origin answered.

use http::Response;
use tokio::time::Instant;

use crate::upstream::answer::AnswerBody;
use crate::upstream::pool::Outstanding;
use meridian_core::model::outcome::Phases;

/// A response's head, and its body as it comes.
#[derive(Debug)]
pub(super) struct OriginResponse {
    /// The head; the body streams.
    pub(super) response: Response<AnswerBody>,
    /// Counts the request at the endpoint until it is dropped.
    pub(super) outstanding: Outstanding,
    /// What the attempt took.
    pub(super) phases: Phases,
    /// When the head was here.
    pub(super) ready: Instant,
    /// Whether the connection had served a request before.
    pub(super) reused: bool,
}
