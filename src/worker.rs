//! One worker: a thread with a single-threaded runtime, its own sockets, pools and counters.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::board::Board;
use crate::clock::Clock;
use crate::edge::conn::ConnectionContext;
use crate::edge::counters::EdgeCounters;
use crate::edge::idle_sweep::Connections;
use crate::edge::listener::accept;
use crate::edge::shutdown::{ShutdownGuard, ShutdownSignal};
use crate::proxy::Proxy;
use crate::proxy::peer::Peer;
use crate::resources::bound::Bound;
use crate::resources::{ListenerResources, Resources};
use crate::telemetry::access_log::WorkerLog;
use crate::upstream::stall::SWEEP_INTERVAL;

/// Stalls are looked for oftener than what holds for seconds.
const SWEEPS_UNTIL_ALL: u32 = 3;

/// What all workers are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serve.
    Serving,
    /// Accept no more, finish what is under way.
    Finishing,
    /// End, whatever is under way.
    Ended,
}

/// What a worker is given.
#[derive(Debug)]
pub struct WorkerParts {
    /// Its number, from 0.
    pub number: usize,
    /// Where tables come from.
    pub board: Board,
    /// The process's clock.
    pub clock: Clock,
    /// Its side of the access log.
    pub log: WorkerLog,
    /// Its counters.
    pub counters: Arc<EdgeCounters>,
    /// What to do.
    pub phase: watch::Receiver<Phase>,
}

/// Starts a worker on a thread of its own. The thread ends when the phase is
/// [`Phase::Ended`], or when it is [`Phase::Finishing`] and no connection is left.
///
/// # Errors
/// When the system gives no thread, or no event queue for want of descriptors.
pub fn start(parts: WorkerParts) -> io::Result<JoinHandle<()>> {
    let (tell, told) = mpsc::sync_channel(1);
    let name = format!("worker-{}", parts.number);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // The runtime belongs to its thread and must be built on it.
        let options = LocalOptions::default();
        match Builder::new_current_thread()
            .enable_all()
            .build_local(options)
        {
            Ok(runtime) => {
                let _ = tell.send(Ok(()));
                runtime.block_on(run(parts));
            }
            Err(error) => {
                let _ = tell.send(Err(error));
            }
        }
    })?;
    told.recv()
        .map_err(|_| io::Error::other("the worker ended"))??;
    Ok(thread)
}

async fn run(parts: WorkerParts) {
    let WorkerParts {
        number,
        board,
        clock,
        log,
        counters,
        mut phase,
    } = parts;
    let mut revisions = board.revisions();
    let proxy = Rc::new(Proxy::new(number, board, clock, log));
    let connections = Rc::new(Connections::default());
    let handler = {
        let proxy = Rc::clone(&proxy);
        move |peer: &Peer, request| Rc::clone(&proxy).handle(peer, request)
    };
    let context = ConnectionContext {
        handler,
        counters: Arc::clone(&counters),
        connections: Rc::clone(&connections),
    };
    let context = Rc::new(context);
    let mut doors = Doors {
        number,
        open: Vec::new(),
    };
    let mut accepting = JoinSet::new();
    let mut generation = 0;
    let mut ticks = 0_u32;
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = *phase.borrow_and_update();
        let live = proxy.live();
        if now == Phase::Serving && generation != live.snapshot.generation {
            generation = live.snapshot.generation;
            proxy.follow_limits(&live.resources.config.limits);
            doors.follow(&live.resources, |socket, listener, shutdown| {
                accepting.spawn_local(accept(socket, Rc::clone(&context), listener, shutdown));
            });
        }
        drop(live);
        if now >= Phase::Finishing {
            doors.close();
        }
        // A socket that closes may still hold connections that nobody has taken yet.
        let silent = accepting.is_empty() && counters.active.value() == 0;
        let over = now == Phase::Finishing && silent;
        if now == Phase::Ended || over {
            break;
        }
        tokio::select! {
            _ = sweep.tick() => {
                proxy.sweep_stalls();
                ticks = (ticks + 1) % SWEEPS_UNTIL_ALL;
                if ticks == 0 {
                    proxy.sweep();
                    connections.sweep(Instant::now());
                }
            }
            changed = revisions.changed() => if changed.is_err() { break },
            Some(ended) = accepting.join_next() => if let Err(error) = ended {
                tracing::error!(worker = number, %error, "a listener takes no more connections here: restart the process and report this");
            },
            changed = phase.changed() => if changed.is_err() { break },
        }
    }
    proxy.sweep();
}

/// The listeners a worker accepts from.
#[derive(Debug)]
struct Doors {
    number: usize,
    open: Vec<OpenListener>,
}

/// One of them: what it is fitted with, and what keeps it open.
#[derive(Debug)]
struct OpenListener {
    listener: watch::Sender<Arc<ListenerResources>>,
    _keeper: ShutdownGuard,
}

impl OpenListener {
    /// Whether it accepts from these sockets; others at the same address do not count.
    fn leads_to(&self, bound: &Arc<Bound>) -> bool {
        let listener = self.listener.borrow();
        let own = listener.bound.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, bound))
    }
}

impl Doors {
    /// Opens the doors that are new, fits the others anew, and closes those that went.
    fn follow(
        &mut self,
        resources: &Resources,
        mut start: impl FnMut(TcpListener, watch::Receiver<Arc<ListenerResources>>, ShutdownSignal),
    ) {
        let listeners = resources.listeners.iter();
        let all: Vec<_> = listeners
            .filter_map(|listener| Some((listener, listener.bound.as_ref()?)))
            .collect();
        self.open
            .retain(|entrance| all.iter().any(|(_, bound)| entrance.leads_to(bound)));
        for (listener, bound) in all {
            if let Some(entrance) = self.open.iter().find(|one| one.leads_to(bound)) {
                entrance.listener.send_replace(Arc::clone(listener));
                continue;
            }
            let Some(socket) = bound.take(self.number) else {
                continue;
            };
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (fitted, listener) = watch::channel(Arc::clone(listener));
                    let (guard, shutdown) = ShutdownSignal::new();
                    start(socket, listener, shutdown);
                    self.open.push(OpenListener {
                        listener: fitted,
                        _keeper: guard,
                    });
                }
                Err(error) => tracing::error!(
                    address = %bound.address(), worker = self.number, %error,
                    "a worker cannot listen: connections that the system gives it are lost; \
                     raise `ulimit -n` and restart the process"
                ),
            }
        }
    }

    fn close(&mut self) {
        self.open.clear();
    }
}
