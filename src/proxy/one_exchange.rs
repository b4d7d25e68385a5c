//! One exchange over one connection: the request, the head of the response.

use http::Response;
use tokio::time::Instant;

use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_target::AttemptTarget;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::proxy::upgrade::{is_asked_for, is_switching};
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::{ReplaySource, RequestBody};
use crate::upstream::connect::{DialError, DialTarget};
use crate::upstream::exchange::{ExchangeError, FirstByteWait, exchange_http1, exchange_http2};
use crate::upstream::pool::Pools;
use crate::upstream::pool::checkout::{Checkout, DialPlan, OriginSender};

/// A connection to the endpoint: an open one, if one may be used and is there, else a new one. Not
/// one that others use unless `shared`.
pub(super) async fn connection(
    pools: &Pools,
    to: &AttemptTarget<'_>,
    shared: bool,
) -> Result<Checkout, AttemptError> {
    let pooled = to.pooled && shared;
    if pooled && let Some(checkout) = pools.take_open(to.endpoint.id, to.idle) {
        return Ok(checkout);
    }
    let target = DialTarget::of(to.region, to.endpoint, to.tls)?;
    let plan = DialPlan {
        target: &target,
        connect: to.connect,
        idle: to.idle,
        fresh: !pooled,
    };
    // In a box: most requests find a connection open, and would carry its room along.
    Ok(Box::pin(pools.connect(to.endpoint.id, plan)).await?)
}

/// Sends the request on a connection and waits for the response's head.
pub(super) async fn exchange(
    checkout: Checkout,
    head: &OutgoingHead,
    source: Option<&ReplaySource>,
    to: &AttemptTarget<'_>,
    sent: Instant,
) -> Result<Response<AnswerBody>, AttemptError> {
    let Some(origin) = to.region.origins.get(usize::from(to.endpoint.origin)) else {
        return Err(AttemptError::Dial(DialError::Refused));
    };
    let host = head.host_for(to.region, origin)?;
    let body = source.map_or(RequestBody::Empty, ReplaySource::body);
    let wait = FirstByteWait {
        began: sent,
        limit: to.first_byte,
        source,
        watched_until: to.time.watched_until,
    };
    let response = match checkout.sender {
        OriginSender::Http1(connection) => {
            let head = head.http1(&host);
            exchange_http1(connection, checkout.reused, &head, body, wait).await?
        }
        OriginSender::Http2(sender, stream) => {
            let request = head.http2(&host, origin.tls, body)?;
            Box::pin(exchange_http2(
                sender,
                stream,
                checkout.reused,
                request,
                wait,
            ))
            .await?
        }
    };
    if is_switching(&response) && !is_asked_for(&response, &head.headers) {
        return Err(ExchangeError::UnaskedSwitch.into());
    }
    Ok(response)
}
