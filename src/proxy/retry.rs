//! From a request to the head of a response: attempt, fail over, keep the best answer.

use tokio::time::Instant;

use crate::proxy::error_response::ProxyError;
use crate::proxy::hedge::attempt;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::recorder::Recorder;
use crate::proxy::request_state::{ChosenAnswer, RequestState};
use crate::proxy::upstream_side::UpstreamSide;

/// Tries regions until one answers or the retry table says to stop.
pub(super) async fn forward(
    upstream: &UpstreamSide,
    request: &OutgoingRequest,
    recorder: &mut Recorder,
) -> Result<ChosenAnswer, ProxyError> {
    let mut state = RequestState::new(upstream, request, recorder);
    let mut began = request.started;
    loop {
        let now = upstream.attempts.clock.at(began);
        let left = state.time_left(now);
        let step = match state.next(left, now) {
            Ok(step) => step,
            Err(reason) => return state.give_up(reason),
        };
        if let Some(chosen) = attempt(&mut state, &step, began, left).await? {
            return Ok(chosen);
        }
        began = Instant::now();
    }
}
