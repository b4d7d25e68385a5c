//! The single writer: events in, snapshots out.
//!
//! Everything a request needs is published together, so that one load sees one world.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use metrics::Counter;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Clock;
use crate::resources::Resources;
use crate::telemetry::metrics::{MetricsRegistry, families};
use meridian_core::apply::{Event, Transition, apply};
use meridian_core::decide::snapshot::{AdminState, Snapshot};
use meridian_core::health::failback::Stage;
use meridian_core::health::state::Health;

/// Events that wait for the board's task; a full queue drops and counts. Thousands of probes may
/// end at the same instant when the proxy's own network fails.
const QUEUE: usize = 4096;

/// Commands applied before one publish, so that a burst costs the workers one reload.
const BATCH: usize = 256;

/// How often the core is told that time passed.
const TICK: Duration = Duration::from_secs(1);

/// Transitions kept for those who ask later, and for slow listeners.
const HISTORY: usize = 200;

/// What a request loads once: beliefs, and the things built for the table.
#[derive(Debug)]
pub struct Live {
    /// What we believe.
    pub snapshot: Snapshot,
    /// What was built for the table: TLS configurations, databases, metric handles.
    pub resources: Arc<Resources>,
}

/// A worker's view of what is published: half a nanosecond while nothing changed.
pub type LiveCache = arc_swap::Cache<Arc<ArcSwap<Live>>, Arc<Live>>;

/// A transition and the wall's time at which it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedTransition {
    /// When.
    pub at: SystemTime,
    /// The revision that first shows it.
    pub revision: u64,
    /// What kind of evidence led to it: the event's label.
    pub evidence: &'static str,
    /// What.
    pub transition: Transition,
}

/// A handle to the board's task; cheap to clone. The task ends when the last handle is gone.
#[derive(Clone, Debug)]
pub struct Board {
    live: Arc<ArcSwap<Live>>,
    commands: mpsc::Sender<Command>,
    revisions: watch::Receiver<u64>,
    journal: Arc<Journal>,
    dropped: Counter,
}

/// What the board's task is asked.
#[derive(Debug)]
enum Command {
    /// Something happened.
    Tell(Event),
    /// Something happened, and somebody waits to hear what followed.
    Ask {
        event: Event,
        done: oneshot::Sender<Vec<Transition>>,
    },
    /// A new table and what was built for it; answers when they serve.
    Install {
        resources: Arc<Resources>,
        done: oneshot::Sender<u64>,
    },
}

impl Board {
    /// Publishes `initial` and starts the task that changes it, on the current tokio runtime.
    #[must_use]
    pub fn start(initial: Live, clock: Clock, registry: &MetricsRegistry) -> Self {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (revision, revisions) = watch::channel(initial.snapshot.revision);
        let (listeners, _) = broadcast::channel(HISTORY);
        let journal = Arc::new(Journal {
            past: Mutex::new(VecDeque::with_capacity(HISTORY)),
            listeners,
        });
        let beliefs = initial.snapshot.clone();
        let live = Arc::new(ArcSwap::from_pointee(initial));
        let writer = Writer {
            live: Arc::clone(&live),
            revision,
            journal: Arc::clone(&journal),
            clock,
            beliefs,
        };
        tokio::spawn(writer.run(queue));
        Self {
            live,
            commands,
            revisions,
            journal,
            dropped: registry.counter(&families::EVENTS_DROPPED, &[]),
        }
    }

    /// What is published now.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// A view for one worker.
    #[must_use]
    pub fn cache(&self) -> LiveCache {
        arc_swap::Cache::new(Arc::clone(&self.live))
    }

    /// Wakes on every published revision.
    #[must_use]
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.clone()
    }

    /// Queues `event` without waiting; says whether there was room. A dropped event is counted.
    pub fn tell(&self, event: Event) -> bool {
        let room = self.commands.try_send(Command::Tell(event)).is_ok();
        if !room {
            self.dropped.increment(1);
        }
        room
    }

    /// Queues `event`, waits until what follows from it is published, and gives what changed. For
    /// what an operator wants: it waits for room instead of being dropped.
    pub async fn ask(&self, event: Event) -> Vec<Transition> {
        let (done, applied) = oneshot::channel();
        if self
            .commands
            .send(Command::Ask { event, done })
            .await
            .is_err()
        {
            // The runtime is shutting down: nothing changes any more.
            return Vec::new();
        }
        applied.await.unwrap_or_default()
    }

    /// Publishes the table of `resources` and the resources themselves in one store, and waits until
    /// they serve. Gives the generation that serves then.
    pub async fn install(&self, resources: Arc<Resources>) -> u64 {
        let (done, installed) = oneshot::channel();
        let queued = self.commands.send(Command::Install { resources, done });
        if queued.await.is_ok()
            && let Ok(generation) = installed.await
        {
            return generation;
        }
        // The runtime is shutting down: what served last still does.
        self.live().snapshot.generation
    }

    /// Every transition from now on. A listener that lags by more than 200 loses the oldest.
    #[must_use]
    pub fn transitions(&self) -> broadcast::Receiver<Arc<TimedTransition>> {
        self.journal.listeners.subscribe()
    }

    /// The last transitions, at most 200, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Arc<TimedTransition>> {
        let past = self.journal.past.lock();
        let past = past.unwrap_or_else(PoisonError::into_inner);
        past.iter().cloned().collect()
    }
}

/// What happened, for those who ask later and for those who listen.
#[derive(Debug)]
struct Journal {
    past: Mutex<VecDeque<Arc<TimedTransition>>>,
    listeners: broadcast::Sender<Arc<TimedTransition>>,
}

impl Journal {
    fn keep(&self, entry: TimedTransition) {
        let entry = Arc::new(entry);
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        if past.len() == HISTORY {
            past.pop_front();
        }
        past.push_back(Arc::clone(&entry));
        drop(past);
        // Nobody listening is normal.
        let _ = self.listeners.send(entry);
    }
}

/// The board's task: the only one that publishes.
struct Writer {
    live: Arc<ArcSwap<Live>>,
    revision: watch::Sender<u64>,
    journal: Arc<Journal>,
    clock: Clock,
    /// What is believed, counts included that nobody reads yet and that are worth no revision.
    beliefs: Snapshot,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut tick = interval(TICK);
        // After a pause of the machine one tick says all that the missed ones would have.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = queue.recv_many(&mut batch, BATCH) => if received == 0 {
                    return;
                },
                _ = tick.tick() => batch.push(Command::Tell(Event::Tick)),
            }
            self.absorb(batch.drain(..));
        }
    }

    /// Applies all of `commands` and publishes once, if anything changed.
    fn absorb(&mut self, commands: impl Iterator<Item = Command>) {
        let before = self.live.load_full();
        let now = self.clock.now();
        let mut resources = Arc::clone(&before.resources);
        let mut snapshot = std::mem::take(&mut self.beliefs);
        let mut transitions = Vec::new();
        let mut waiting = Vec::new();
        let mut answers = Vec::new();
        for command in commands {
            let mut asked = None;
            let event = match command {
                Command::Tell(event) => event,
                Command::Ask { event, done } => {
                    asked = Some(done);
                    event
                }
                Command::Install {
                    resources: new,
                    done,
                } => {
                    let event = Event::Table {
                        table: Arc::clone(&new.config.table),
                        unknown: new.config.viewer.unknown,
                    };
                    resources = new;
                    waiting.push(done);
                    event
                }
            };
            let evidence = event.label();
            let (after, changes) = apply(&snapshot, event, now);
            snapshot = after;
            answers.extend(asked.map(|done| (done, changes.clone())));
            transitions.extend(changes.into_iter().map(|change| (evidence, change)));
        }
        let untouched = snapshot.revision == before.snapshot.revision;
        if untouched && waiting.is_empty() && transitions.is_empty() {
            self.beliefs = snapshot;
        } else {
            // One publish is one revision, however many events it carries.
            snapshot.revision = before.snapshot.revision + 1;
            self.beliefs = snapshot.clone();
            self.publish(
                Live {
                    snapshot,
                    resources,
                },
                transitions,
                waiting,
            );
        }
        for (done, changes) in answers {
            // Whoever asked may have gone; what was asked is done all the same.
            let _ = done.send(changes);
        }
    }

    fn publish(
        &self,
        live: Live,
        transitions: Vec<(&'static str, Transition)>,
        waiting: Vec<oneshot::Sender<u64>>,
    ) {
        let revision = live.snapshot.revision;
        let generation = live.snapshot.generation;
        self.live.store(Arc::new(live));
        let at = self.clock.wall();
        for (evidence, transition) in transitions {
            log(&transition);
            self.journal.keep(TimedTransition {
                at,
                revision,
                evidence,
                transition,
            });
        }
        self.revision.send_replace(revision);
        for done in waiting {
            // Whoever asked may have gone; the table serves all the same.
            let _ = done.send(generation);
        }
    }
}

/// One line per transition; what is lost is a warning, what comes back is news.
fn log(transition: &Transition) {
    match transition {
        Transition::Endpoint {
            region,
            address,
            from,
            to,
            cause,
        } => {
            let (from, to) = (from.label(), to.label());
            if to == Health::Unhealthy.label() {
                tracing::warn!(%region, %address, from, to, cause, "endpoint lost");
            } else {
                tracing::info!(%region, %address, from, to, cause, "endpoint serves");
            }
        }
        Transition::Region {
            region,
            from,
            to,
            cause,
        } => {
            let (from, to) = (from.label(), to.label());
            if to == Health::Unhealthy.label() {
                tracing::warn!(%region, from, to, cause, "region lost");
            } else {
                tracing::info!(%region, from, to, cause, "region serves");
            }
        }
        Transition::Leader {
            region,
            before,
            cause,
        } => {
            tracing::info!(%region, %before, cause, "another region is the fastest");
        }
        Transition::Failback {
            region,
            stage: Stage::Down,
            cause,
        } => {
            tracing::warn!(%region, cause, "region loses its traffic after all");
        }
        Transition::Failback {
            region,
            stage,
            cause,
        } => {
            let (stage, share) = (stage.label(), stage.share());
            tracing::info!(%region, stage, share, cause, "region returns");
        }
        Transition::EjectionSuppressed { region, cause } => {
            tracing::warn!(%region, cause, "region fails its probes and keeps its traffic");
        }
        Transition::CorrelatedFailure { began: true } => {
            tracing::error!("all regions fell together: most likely a fault on this side");
        }
        Transition::CorrelatedFailure { began: false } => {
            tracing::info!("a region is well again after all fell together");
        }
        Transition::Addresses {
            region,
            added,
            removed,
            cause,
        } => {
            tracing::info!(%region, added, removed, cause, "addresses changed");
        }
        Transition::Operator {
            region,
            state,
            cause,
        } => {
            let state = match state {
                AdminState::Auto => "auto",
                AdminState::Drained => "drained",
                AdminState::Forced => "forced",
            };
            tracing::info!(%region, state, cause, "operator changed a region");
        }
    }
}
