//! What moves a viewer's connection forward, and when it stops.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::edge::connection_registry::Registration;
use crate::edge::connection_timeouts::SweepOrder;
use crate::edge::end::ConnectionEnd;

/// Runs a connection to its end, step by step, obeying the worker's sweep; or to where it is told
/// to park, then there is no end.
pub(super) async fn drive<C>(
    mut connection: Pin<&mut C>,
    mut step: impl FnMut(Pin<&mut C>, &mut Context<'_>) -> Poll<hyper::Result<()>>,
    registration: &Registration,
    finish: impl Fn(Pin<&mut C>),
) -> Option<ConnectionEnd> {
    let mut ordered = ConnectionEnd::Finished;
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| step(connection.as_mut(), cx)) => {
                return Some(ended.map_or_else(|error| ConnectionEnd::of(&error), |()| ordered));
            }
            order = poll_fn(|cx| registration.watch().poll_order(cx)) => match order {
                SweepOrder::Finish(end) => {
                    finish(connection.as_mut());
                    ordered = end;
                }
                SweepOrder::Abort(end) => return Some(end),
                SweepOrder::Park => return None,
            },
        }
    }
}
