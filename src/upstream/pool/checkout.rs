//! Where a connection is checked out for one request: an open one of the pool, or a new one.

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::time::{Instant, timeout};

use crate::upstream::body::RequestBody;
use crate::upstream::connect::{DialError, DialTarget, dial};
use crate::upstream::handshake::handshake_http2;
use crate::upstream::http1::Http1Connection;
use crate::upstream::pool::{Joint, Pools, Slot};
use crate::upstream::stream_token::StreamToken;
use meridian_core::model::id::EndpointId;
use meridian_core::model::outcome::Phases;

/// Streams at once on one HTTP/2 connection before another one is dialled; the origin's own
/// limit is obeyed by waiting within the connection.
const STREAMS_PER_CONNECTION: usize = 100;

/// A connection taken for one request.
#[derive(Debug)]
pub struct Checkout {
    /// The way to send on it.
    pub sender: OriginSender,
    /// Whether it served a request before.
    pub reused: bool,
    /// Whether it was not there at once: it was dialled, for this request or for another.
    pub waited: bool,
    /// What dialling took, when it was dialled for this request.
    pub phases: Phases,
}

/// The sending half of a connection.
#[derive(Debug)]
pub enum OriginSender {
    /// Ours alone until the response's end.
    Http1(Box<Http1Connection>),
    /// Shared; the token counts our stream.
    Http2(http2::SendRequest<RequestBody>, StreamToken),
}

/// What a worker wants to know of how a connection is made.
#[derive(Clone, Copy, Debug)]
pub struct DialPlan<'a> {
    /// Where.
    pub target: &'a DialTarget,
    /// For TCP and TLS, each.
    pub connect: Duration,
    /// Connections unused for longer are not used again.
    pub idle: Duration,
    /// One that nobody has used, also where another could be shared.
    pub fresh: bool,
}

impl Pools {
    /// A connection that is open and unused, the most recently used first: the others grow old
    /// and are closed.
    #[must_use]
    pub fn take_open(&self, endpoint: EndpointId, idle: Duration) -> Option<Checkout> {
        self.with_slot(endpoint, |slot| {
            let now = self.0.swept.get();
            slot.checkout_joint(idle)
                .or_else(|| slot.checkout_idle(now, idle))
        })
        .flatten()
    }

    /// Dials a new connection to `endpoint`, or waits for the HTTP/2 one another request dials.
    pub async fn connect(
        &self,
        endpoint: EndpointId,
        plan: DialPlan<'_>,
    ) -> Result<Checkout, DialError> {
        let dialing = self.with_slot(endpoint, |slot| {
            let expects_http2 = slot.speaks_http2 || plan.target.prior_knowledge;
            expects_http2.then(|| Rc::clone(&slot.dialing))
        });
        let Some(dialing) = dialing.flatten().filter(|_| !plan.fresh) else {
            return self.dial(endpoint, plan).await;
        };
        // Requests that wait for one that dials in vain must not dial in vain one after another.
        let Ok(_only_one) = timeout(plan.connect, dialing.lock()).await else {
            return Err(DialError::ConnectTimeout(plan.connect));
        };
        let joint = self.with_slot(endpoint, |slot| slot.checkout_joint(plan.idle));
        if let Some(checkout) = joint.flatten() {
            return Ok(Checkout {
                waited: true,
                ..checkout
            });
        }
        self.dial(endpoint, plan).await
    }

    async fn dial(&self, endpoint: EndpointId, plan: DialPlan<'_>) -> Result<Checkout, DialError> {
        let dialed = dial(plan.target, plan.connect).await?;
        let sender = if dialed.http2 {
            let (sender, token) = handshake_http2(dialed.stream, self.0.limits.get().head).await?;
            let joint = Joint {
                sender: sender.clone(),
                token: token.clone(),
                used: Instant::now(),
            };
            let _ = self.with_slot(endpoint, |slot| {
                slot.speaks_http2 = true;
                slot.joint.push(joint);
            });
            OriginSender::Http2(sender, token)
        } else {
            let _ = self.with_slot(endpoint, |slot| slot.speaks_http2 = false);
            let connection = Http1Connection::new(
                dialed.stream,
                self.0.limits.get().head,
                self.0.scratch.clone(),
            );
            OriginSender::Http1(Box::new(connection))
        };
        Ok(Checkout {
            sender,
            reused: false,
            waited: true,
            phases: dialed.phases,
        })
    }
}

impl Slot {
    fn checkout_joint(&mut self, idle: Duration) -> Option<Checkout> {
        self.joint.retain(|one| one.is_fresh(idle));
        let open = self
            .joint
            .iter_mut()
            .find(|one| one.token.streams() < STREAMS_PER_CONNECTION)?;
        open.used = Instant::now();
        Some(Checkout {
            sender: OriginSender::Http2(open.sender.clone(), open.token.clone()),
            reused: true,
            waited: false,
            phases: Phases::default(),
        })
    }

    fn checkout_idle(&mut self, now: Instant, idle: Duration) -> Option<Checkout> {
        while let Some(mut one) = self.idle.pop_back() {
            if now - one.since < idle && one.connection.is_open() {
                return Some(Checkout {
                    sender: OriginSender::Http1(one.connection),
                    reused: true,
                    waited: false,
                    phases: Phases::default(),
                });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use meridian_core::config::LimitsConfig;

    use super::*;

    const ENDPOINT: EndpointId = EndpointId {
        slot: 0,
        generation: 0,
    };

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_anothers_dialling_no_longer_than_for_its_own() {
        let pools = Pools::new(&LimitsConfig::default());
        let slow = pools.with_slot(ENDPOINT, |slot| Rc::clone(&slot.dialing));
        let slow = slow.unwrap();
        let _dialling = slow.lock().await;
        let target = DialTarget {
            address: ([127, 0, 0, 1], 1).into(),
            tls: None,
            prior_knowledge: true,
        };
        let plan = DialPlan {
            target: &target,
            connect: Duration::from_secs(1),
            idle: Duration::from_secs(50),
            fresh: false,
        };
        let started = Instant::now();
        let outcome = pools.connect(ENDPOINT, plan).await;
        assert!(matches!(outcome, Err(DialError::ConnectTimeout(_))));
        assert_eq!(started.elapsed().as_secs(), 1);
    }
}
