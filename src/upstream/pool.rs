//! Connections to origins, kept by one worker for its own requests.
//!
//! No other thread sees a worker's pool, so there is no lock; endpoints are found by their slot,
//! so there is no hashing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::time::{Instant, timeout};

use crate::upstream::body::RequestBody;
use crate::upstream::connect::{DialError, DialTarget, dial};
use crate::upstream::handshake::handshake_http2;
use crate::upstream::http1::body::LingeringUpload;
use crate::upstream::http1::{HeadLimits, Http1Connection, Scratch};
use meridian_core::config::LimitsConfig;
use meridian_core::model::id::EndpointId;
use meridian_core::model::outcome::Phases;

/// Streams at once on one HTTP/2 connection before another one is dialled; the origin's own
/// limit is obeyed by waiting within the connection.
const STREAMS_PER_CONNECTION: usize = 100;

/// Connections of one worker that still write a request whose answer is done. An origin that answers
/// early as a rule reads on, or closes, within a round trip.
const MOST_LINGERING: usize = 256;

/// Bounds that every pool keeps.
#[derive(Clone, Copy, Debug)]
struct PoolLimits {
    /// Unused HTTP/1.1 connections kept per endpoint.
    idle_per_endpoint: usize,
    /// Of one response head.
    head: HeadLimits,
}

impl PoolLimits {
    fn of(limits: &LimitsConfig) -> Self {
        Self {
            idle_per_endpoint: limits.idle_connections_per_endpoint,
            head: HeadLimits {
                bytes: limits.header_bytes,
                fields: limits.header_fields,
            },
        }
    }
}

/// All connections of one worker.
#[derive(Clone, Debug)]
pub struct Pools(Rc<PoolState>);

#[derive(Debug)]
struct PoolState {
    slots: RefCell<Vec<Slot>>,
    limits: Cell<PoolLimits>,
    scratch: Scratch,
    /// The time of the last sweep: exact enough for limits of idle connections.
    swept: Cell<Instant>,
    /// Connections that are done with but for the rest of a request.
    lingering: Cell<usize>,
    refused: Cell<Refused>,
}

/// What the bounds of a worker's pools kept out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Refused {
    /// Unused connections that were closed because newer ones were kept.
    pub idle: u64,
    /// Requests whose rest was not written any more after their answer.
    pub lingering: u64,
}

/// The connections to one endpoint.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    /// The oldest first.
    idle: VecDeque<Idle>,
    joint: Vec<Joint>,
    /// Held while one HTTP/2 connection is dialled, so that a burst does not dial one each.
    dialing: Rc<tokio::sync::Mutex<()>>,
    /// Whether the last connection spoke HTTP/2: what to expect of the next.
    speaks_http2: bool,
    outstanding: u32,
}

/// An HTTP/1.1 connection between two requests.
#[derive(Debug)]
struct Idle {
    connection: Box<Http1Connection>,
    since: Instant,
}

/// An HTTP/2 connection, used by several requests at once.
#[derive(Debug)]
struct Joint {
    sender: http2::SendRequest<RequestBody>,
    streams: Rc<()>,
    /// When a stream was last seen on it.
    used: Instant,
}

impl Joint {
    /// How many requests are on it.
    fn streams(&self) -> usize {
        // One count is the pool's own.
        Rc::strong_count(&self.streams) - 1
    }

    /// Whether it may take a request: it is open, and no balancer on the way had reason to forget
    /// it.
    fn is_fresh(&self, idle: Duration) -> bool {
        !self.sender.is_closed() && (self.streams() > 0 || self.used.elapsed() < idle)
    }
}

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
    /// PoolState; the token counts our stream.
    Http2(http2::SendRequest<RequestBody>, Rc<()>),
}

/// What a worker wants to know of how a connection is made.
#[derive(Clone, Copy, Debug)]
pub struct DialPlan<'a> {
    /// Where.
    pub target: &'a DialTarget,
    /// HTTP/2 by prior knowledge, on a plain connection.
    pub prior_knowledge: bool,
    /// For TCP and TLS, each.
    pub connect: Duration,
    /// Connections unused for longer are not used again.
    pub idle: Duration,
    /// One that nobody has used, also where another could be shared.
    pub fresh: bool,
}

impl Pools {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: &LimitsConfig) -> Self {
        Self(Rc::new(PoolState {
            slots: RefCell::default(),
            limits: Cell::new(PoolLimits::of(limits)),
            scratch: Scratch::default(),
            swept: Cell::new(Instant::now()),
            lingering: Cell::default(),
            refused: Cell::default(),
        }))
    }

    /// From now on keeps these bounds; open connections keep those they were made under.
    pub fn follow_limits(&self, limits: &LimitsConfig) {
        self.0.limits.set(PoolLimits::of(limits));
    }

    /// How many requests of this worker are under way at `endpoint`.
    #[must_use]
    pub fn outstanding(&self, endpoint: EndpointId) -> u32 {
        let slots = self.0.slots.borrow();
        match slots.get(endpoint.index()) {
            Some(slot) if slot.generation == endpoint.generation => slot.outstanding,
            _ => 0,
        }
    }

    /// Counts a request at `endpoint` until the guard is dropped.
    #[must_use]
    pub fn begin(&self, endpoint: EndpointId) -> Outstanding {
        let _ = self.with_slot(endpoint, |slot| slot.outstanding += 1);
        Outstanding {
            pools: self.clone(),
            endpoint,
        }
    }

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
            let expects_http2 = slot.speaks_http2 || plan.prior_knowledge;
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

    /// Lets a connection end that answered before it had the whole request, in `limit` at most: an
    /// origin that neither reads nor closes would otherwise hold it, and the viewer's body, for good.
    pub fn linger(&self, upload: LingeringUpload, limit: Duration) {
        let lingering = self.0.lingering.get();
        if lingering >= MOST_LINGERING {
            self.refuse(|refused| refused.lingering += 1);
            return;
        }
        self.0.lingering.set(lingering + 1);
        let pools = self.clone();
        tokio::task::spawn_local(async move {
            let _ = timeout(limit, upload.finish()).await;
            pools.0.lingering.set(pools.0.lingering.get() - 1);
        });
    }

    /// What the bounds kept out since the last time this was asked.
    #[must_use]
    pub fn take_refused(&self) -> Refused {
        self.0.refused.take()
    }

    fn refuse(&self, count: impl FnOnce(&mut Refused)) {
        let mut refused = self.0.refused.get();
        count(&mut refused);
        self.0.refused.set(refused);
    }

    /// Gives an HTTP/1.1 connection back after a whole response.
    pub fn give_back(&self, endpoint: EndpointId, connection: Box<Http1Connection>) {
        let most = self.0.limits.get().idle_per_endpoint;
        if most == 0 {
            return;
        }
        let _ = self.with_slot(endpoint, |slot| {
            if slot.idle.len() >= most {
                slot.idle.pop_front();
                self.refuse(|refused| refused.idle += 1);
            }
            slot.idle.push_back(Idle {
                connection,
                since: self.0.swept.get(),
            });
        });
    }

    /// Closes what was unused for longer than `idle`, and all connections to endpoints that
    /// are not among `known`; requests under way on them end in peace.
    pub fn sweep(&self, idle: Duration, known: &BTreeSet<EndpointId>) {
        let now = Instant::now();
        self.0.swept.set(now);
        let mut slots = self.0.slots.borrow_mut();
        for (position, slot) in slots.iter_mut().enumerate() {
            let slot_number = u32::try_from(position).unwrap_or(u32::MAX);
            let endpoint = EndpointId {
                slot: slot_number,
                generation: slot.generation,
            };
            if known.contains(&endpoint) {
                slot.idle
                    .retain_mut(|one| now - one.since < idle && one.connection.is_open());
                for one in &mut slot.joint {
                    if one.streams() > 0 {
                        one.used = Instant::now();
                    }
                }
                slot.joint.retain(|one| one.is_fresh(idle));
            } else {
                slot.idle.clear();
                slot.joint.clear();
            }
        }
    }

    async fn dial(&self, endpoint: EndpointId, plan: DialPlan<'_>) -> Result<Checkout, DialError> {
        let dialed = dial(plan.target, plan.connect).await?;
        let sender = if dialed.http2 || plan.prior_knowledge {
            let (sender, streams) =
                handshake_http2(dialed.stream, self.0.limits.get().head).await?;
            let joint = Joint {
                sender: sender.clone(),
                streams: Rc::clone(&streams),
                used: Instant::now(),
            };
            let _ = self.with_slot(endpoint, |slot| {
                slot.speaks_http2 = true;
                slot.joint.push(joint);
            });
            OriginSender::Http2(sender, streams)
        } else {
            let _ = self.with_slot(endpoint, |slot| slot.speaks_http2 = false);
            let connection = Connection::new(
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

    /// Runs `act` on the endpoint's slot, made new when the number had another holder; not at all
    /// when it has another holder now: what ends late of an endpoint that went says nothing of it.
    fn with_slot<T>(&self, endpoint: EndpointId, act: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let mut slots = self.0.slots.borrow_mut();
        if slots.len() <= endpoint.index() {
            slots.resize_with(endpoint.index() + 1, Slot::default);
        }
        let slot = &mut slots[endpoint.index()];
        if slot.generation > endpoint.generation {
            return None;
        }
        if slot.generation < endpoint.generation {
            *slot = Slot {
                generation: endpoint.generation,
                ..Slot::default()
            };
        }
        Some(act(slot))
    }
}

impl Slot {
    fn checkout_joint(&mut self, idle: Duration) -> Option<Checkout> {
        self.joint.retain(|one| one.is_fresh(idle));
        let open = self
            .joint
            .iter_mut()
            .find(|one| one.streams() < STREAMS_PER_CONNECTION)?;
        open.used = Instant::now();
        Some(Checkout {
            sender: OriginSender::Http2(open.sender.clone(), Rc::clone(&open.streams)),
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

/// One request under way at an endpoint.
#[derive(Debug)]
pub struct Outstanding {
    pools: Pools,
    endpoint: EndpointId,
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let _ = self.pools.with_slot(self.endpoint, |slot| {
            slot.outstanding = slot.outstanding.saturating_sub(1);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::connect::DialTarget;

    fn pools() -> Pools {
        Pools::new(&LimitsConfig::default())
    }

    fn endpoint(generation: u32) -> EndpointId {
        EndpointId {
            slot: 0,
            generation,
        }
    }

    #[test]
    fn what_ends_late_of_an_endpoint_that_went_leaves_its_successor_alone() {
        let pools = pools();
        let late = pools.begin(endpoint(0));
        let under_way = pools.begin(endpoint(1));
        drop(late);
        assert_eq!(pools.outstanding(endpoint(1)), 1);
        drop(under_way);
        assert_eq!(pools.outstanding(endpoint(1)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_anothers_dialling_no_longer_than_for_its_own() {
        let pools = pools();
        let slow = pools.with_slot(endpoint(0), |slot| Rc::clone(&slot.dialing));
        let slow = slow.unwrap();
        let _dialling = slow.lock().await;
        let target = DialTarget {
            address: ([127, 0, 0, 1], 1).into(),
            tls: None,
        };
        let plan = DialPlan {
            target: &target,
            prior_knowledge: true,
            connect: Duration::from_secs(1),
            idle: Duration::from_secs(50),
            fresh: false,
        };
        let started = Instant::now();
        let outcome = pools.connect(endpoint(0), plan).await;
        assert!(matches!(outcome, Err(DialError::ConnectTimeout(_))));
        assert_eq!(started.elapsed().as_secs(), 1);
    }
}
