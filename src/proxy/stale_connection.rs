//! A connection that the request came too late for is no failed attempt: the same one goes on with
//! the next connection.

use tokio::time::Instant;

use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_target::AttemptTarget;
use crate::proxy::one_exchange::{connection, exchange};
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::upstream::body::ReplaySource;
use crate::upstream::exchange::ExchangeError;
use crate::upstream::pool::Pools;

/// Connections that an attempt may come too late for before it dials one that no other request uses.
/// An HTTP/2 origin that takes twenty more requests on each connection before it goes away needs
/// five for the hundred that one connection may have under way.
const MOST_STALE: u32 = 8;

/// Sends the request to the endpoint and waits for the response's head.
///
/// A connection that turns out closed before anything was written to it, or that served others until
/// the origin proves that it did not process the request, says nothing about the endpoint, and costs it
/// nothing: the same attempt goes on with the next one, and then with a fresh one, whatever the method.
pub(super) async fn send(
    pools: &Pools,
    head: &OutgoingHead,
    source: Option<&ReplaySource>,
    to: &AttemptTarget<'_>,
) -> Result<Box<OriginResponse>, AttemptError> {
    let outstanding = pools.begin(to.endpoint.id);
    let mut stale = 0;
    loop {
        if let Some(source) = source {
            source.restart();
        }
        let checkout = connection(pools, to, stale < MOST_STALE).await?;
        let reused = checkout.reused;
        let mut phases = checkout.phases;
        // A connection that was there took no time.
        let sent = match checkout.waited || stale > 0 {
            true => Instant::now(),
            false => to.time.began,
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
            Err(_) if source.is_some_and(ReplaySource::broken) => {
                return Err(AttemptError::ViewerBody);
            }
            Err(AttemptError::Exchange(error))
                if came_too_late(&error, reused)
                    && source.is_none_or(ReplaySource::replayable)
                    && to.time.began.elapsed() < to.time.left =>
            {
                stale += 1;
                if stale == MOST_STALE {
                    pools.found_too_many_stale();
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the connection ended as connections do, before it had the request. One that has served
/// nobody yet speaks of the endpoint.
fn came_too_late(error: &ExchangeError, reused: bool) -> bool {
    match error {
        ExchangeError::ClosedBeforeSend => reused,
        ExchangeError::Unprocessed { served, .. } => *served,
        _ => false,
    }
}
