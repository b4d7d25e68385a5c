//! A pooled connection that turns out stale is no failed attempt: the same one goes on with the
//! next connection.

use tokio::time::Instant;

use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_target::AttemptTarget;
use crate::proxy::one_exchange::{connection, exchange};
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::upstream::body::ReplaySource;
use crate::upstream::exchange::ExchangeError;
use crate::upstream::pool::Pools;

/// Sends the request to the endpoint and waits for the response's head.
///
/// A pooled connection that turns out closed before anything was written to it says nothing about
/// the endpoint; the same attempt goes on with the next one, and then with a fresh one.
pub(super) async fn send(
    pools: &Pools,
    head: &OutgoingHead,
    source: Option<&ReplaySource>,
    to: &AttemptTarget<'_>,
) -> Result<Box<OriginResponse>, AttemptError> {
    let outstanding = pools.begin(to.endpoint.id);
    if let Some(source) = source {
        source.restart();
    }
    loop {
        let checkout = connection(pools, to).await?;
        let reused = checkout.reused;
        let mut phases = checkout.phases;
        // A connection that was there took no time.
        let sent = if checkout.waited {
            Instant::now()
        } else {
            to.time.began
        };
        match exchange(checkout, head, source, to, sent).await {
            Ok(response) => {
                let ready = Instant::now();
                phases.first_byte = Some(ready - sent);
                return Ok(Box::new(OriginResponse {
                    response,
                    outstanding,
                    phases,
                    ready,
                    reused,
                }));
            }
            Err(AttemptError::Exchange(ExchangeError::ClosedBeforeSend))
                if reused && source.is_none_or(ReplaySource::replayable) => {}
            Err(_) if source.is_some_and(ReplaySource::broken) => {
                return Err(AttemptError::ViewerBody);
            }
            Err(error) => return Err(error),
        }
    }
}
