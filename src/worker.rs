//! One worker: a thread with a single-threaded runtime, its own sockets, pools and counters.

mod open_listeners;

use std::io;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::board::Board;
use crate::clock::Clock;
use crate::edge::conn::ConnectionContext;
use crate::edge::connection_registry::Connections;
use crate::edge::counters::EdgeCounters;
use crate::edge::listener::accept;
use crate::proxy::Proxy;
use crate::proxy::peer::Peer;
use crate::telemetry::access_log::WorkerLog;
use crate::upstream::stall::SWEEP_INTERVAL;
use crate::worker::open_listeners::OpenListeners;

/// Stalls are looked for oftener than what holds for seconds.
const SWEEPS_UNTIL_ALL: u32 = 3;

/// What all workers are told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerPhase {
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
    pub phase: watch::Receiver<WorkerPhase>,
}

/// Starts a worker on a thread of its own. The thread ends when the phase is
/// [`WorkerPhase::Ended`], or when it is [`WorkerPhase::Finishing`] and no connection is left.
///
/// # Errors
/// When the system gives no thread, or no event queue for want of descriptors.
pub fn start(parts: WorkerParts) -> io::Result<JoinHandle<()>> {
    let (started, outcome) = mpsc::sync_channel(1);
    let name = format!("worker-{}", parts.number);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        // The runtime belongs to its thread and must be built on it.
        let options = LocalOptions::default();
        match Builder::new_current_thread()
            .enable_all()
            .build_local(options)
        {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(run(parts));
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    })?;
    outcome
        .recv()
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
    let context = Rc::new(ConnectionContext {
        handler,
        counters: Arc::clone(&counters),
        connections: Rc::clone(&connections),
    });
    let mut listeners = OpenListeners::new(number);
    let mut accepting = JoinSet::new();
    let mut generation = 0;
    let mut ticks = 0_u32;
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let now = *phase.borrow_and_update();
        let live = proxy.live();
        if now == WorkerPhase::Serving && generation != live.snapshot.generation {
            generation = live.snapshot.generation;
            proxy.follow_limits(&live.resources.config.limits);
            listeners.follow(&live.resources, |socket, listener, shutdown| {
                accepting.spawn_local(accept(socket, Rc::clone(&context), listener, shutdown));
            });
        }
        drop(live);
        if now >= WorkerPhase::Finishing {
            listeners.close();
        }
        // A socket that closes may still hold connections that nobody has taken yet.
        let silent = accepting.is_empty() && counters.active.value() == 0;
        let over = now == WorkerPhase::Finishing && silent;
        if now == WorkerPhase::Ended || over {
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
