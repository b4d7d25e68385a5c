//! The one place that runs an attempt: first try, retry, hedge and the rest of a body alike.

use tokio::time::Instant;

use crate::clock::Clock;
use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_result::{AttemptEnd, AttemptResult, OriginAnswer, gateway_failure};
use crate::proxy::attempt_target::AttemptTarget;
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::response_buffer::{BufferBudget, buffer};
use crate::proxy::stale_connection::send;
use crate::proxy::upstreams::Upstreams;

/// What attempts are made with.
#[derive(Debug)]
pub(super) struct AttemptRunner {
    pub(super) clock: Clock,
    pub(super) upstreams: Upstreams,
    pub(super) buffers: BufferBudget,
}

/// What an attempt sends.
#[derive(Clone, Copy, Debug)]
pub(super) enum AttemptMessage<'a> {
    /// The request; a small answer is buffered until it is whole, if `buffers`.
    Request {
        /// Whether a small answer is.
        buffers: bool,
    },
    /// The request for the rest of a body, with this head.
    Range(&'a OutgoingHead),
}

impl AttemptRunner {
    /// Sends `message` of `request` to `target`, and waits for what comes of it.
    pub(super) async fn run(
        &self,
        request: &OutgoingRequest,
        message: AttemptMessage<'_>,
        target: AttemptTarget<'_>,
    ) -> AttemptResult {
        let (head, source, buffers) = match message {
            AttemptMessage::Request { buffers } => {
                (&request.head, request.source.as_ref(), buffers)
            }
            AttemptMessage::Range(head) => (head, None, false),
        };
        let end = match send(&self.upstreams.pools, head, source, &target).await {
            Ok(origin) => match gateway_failure(&origin.response, request.class) {
                // It is judged by its head.
                Some(asks_to_wait) => AttemptEnd::GatewayFailure {
                    answer: OriginAnswer::streaming(origin),
                    asks_to_wait,
                },
                None if buffers => self.buffered(request, origin, &target).await,
                None => AttemptEnd::Answered(OriginAnswer::streaming(origin)),
            },
            Err(error) => AttemptEnd::Failed(error),
        };
        AttemptResult {
            at: target.at(),
            end,
        }
    }

    /// The answer, and its body if that is small and there is room for it.
    async fn buffered(
        &self,
        request: &OutgoingRequest,
        mut origin: Box<OriginResponse>,
        target: &AttemptTarget<'_>,
    ) -> AttemptEnd {
        let Some(reservation) = self.buffers.reserve_for(&origin.response) else {
            return AttemptEnd::Answered(OriginAnswer::streaming(origin));
        };
        // The time a viewer takes to upload is its own.
        let until = match &request.source {
            None => target.time.began + target.time.left,
            Some(_) => {
                let started = self.clock.at(request.started);
                Instant::now() + request.time_left(started, self.clock.now())
            }
        };
        let limit = request.route().timeouts.body_progress;
        let body = origin.response.body_mut();
        match buffer(body, reservation, limit, until).await {
            Ok(body) => AttemptEnd::Answered(OriginAnswer {
                origin,
                buffered: Some(body),
            }),
            // The connection breaks with the upload beside it.
            Err(_) if request.upload_broke() => AttemptEnd::Failed(AttemptError::ViewerBody),
            Err(error) => AttemptEnd::Failed(error),
        }
    }
}
