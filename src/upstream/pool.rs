//! Connections to origins, kept by one worker for its own requests.
//!
//! No other thread sees a worker's pool, so there is no lock; endpoints are found by their slot,
//! so there is no hashing.

pub(crate) mod checkout;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use tokio::time::{Instant, timeout};

use crate::upstream::body::RequestBody;
use crate::upstream::http1::body::LingeringUpload;
use crate::upstream::http1::{HeadLimits, Http1Connection, Scratch};
use crate::upstream::stream_token::StreamToken;
use meridian_core::config::LimitsConfig;
use meridian_core::model::id::EndpointId;

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
    /// Attempts that came too late for so many connections that they dialled one of their own.
    pub stale: u64,
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
    token: StreamToken,
    /// When a stream was last seen on it.
    used: Instant,
}

impl Joint {
    /// Whether it may take a request: it is open and stays so, and no balancer on the way had reason
    /// to forget it.
    fn is_fresh(&self, idle: Duration) -> bool {
        !self.sender.is_closed()
            && !self.token.is_draining()
            && (self.token.streams() > 0 || self.used.elapsed() < idle)
    }
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

    /// An attempt came too late for as many connections as it may.
    pub fn found_too_many_stale(&self) {
        self.refuse(|refused| refused.stale += 1);
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
                    if one.token.streams() > 0 {
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
}
