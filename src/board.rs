//! The single writer: events in, snapshots out.
//!
//! Everything a request needs is published together, so that one load sees one world.

pub mod journal;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::Counter;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::board::journal::Journal;
use crate::clock::Clock;
use crate::resources::Resources;
use crate::telemetry::metrics::{MetricsRegistry, families};
use meridian_core::apply::{Beliefs, Event, apply};
use meridian_core::change::{Change, ChangeRow, Weight};
use meridian_core::decide::snapshot::Snapshot;

/// Events that wait for the board's task; a full queue drops and counts. Thousands of probes may
/// end at the same instant when the proxy's own network fails.
const QUEUE: usize = 4096;

/// Commands applied before one publish, so that a burst costs the workers one reload.
const BATCH: usize = 256;

/// How often the core is told that time passed.
const TICK: Duration = Duration::from_secs(1);

/// What a request loads once: beliefs, and the things built for the table.
#[derive(Debug)]
pub struct Live {
    /// What decisions read of what we believe.
    pub snapshot: Snapshot,
    /// All that we believe.
    pub beliefs: Arc<Beliefs>,
    /// What was built for the table: TLS configurations, databases, metric handles.
    pub resources: Arc<Resources>,
}

impl Live {
    /// What is published of `beliefs`, and `resources`.
    #[must_use]
    pub fn new(beliefs: Arc<Beliefs>, resources: Arc<Resources>) -> Self {
        Self {
            snapshot: beliefs.snapshot(),
            beliefs,
            resources,
        }
    }
}

/// A worker's view of what is published: half a nanosecond while nothing changed.
pub type LiveCache = arc_swap::Cache<Arc<ArcSwap<Live>>, Arc<Live>>;

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
        done: oneshot::Sender<Vec<Change>>,
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
        let journal = Arc::new(Journal::default());
        let beliefs = Arc::clone(&initial.beliefs);
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
    pub async fn ask(&self, event: Event) -> Vec<Change> {
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

    /// What changed, for those who ask later and for those who listen.
    #[must_use]
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }
}

/// The board's task: the only one that publishes.
struct Writer {
    live: Arc<ArcSwap<Live>>,
    revision: watch::Sender<u64>,
    journal: Arc<Journal>,
    clock: Clock,
    /// What is believed, counts included that nobody reads yet and that are worth no revision.
    beliefs: Arc<Beliefs>,
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
        let mut beliefs = Arc::clone(&self.beliefs);
        let mut changes = Vec::new();
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
            let (after, followed) = apply(&beliefs, event, now);
            beliefs = Arc::new(after);
            answers.extend(asked.map(|done| (done, followed.clone())));
            changes.extend(followed.into_iter().map(|change| (evidence, change)));
        }
        let untouched = beliefs.revision == before.snapshot.revision;
        if !untouched || !waiting.is_empty() || !changes.is_empty() {
            // One publish is one revision, however many events it carries.
            Arc::make_mut(&mut beliefs).revision = before.snapshot.revision + 1;
            self.publish(Live::new(Arc::clone(&beliefs), resources), changes, waiting);
        }
        self.beliefs = beliefs;
        for (done, changes) in answers {
            // Whoever asked may have gone; what was asked is done all the same.
            let _ = done.send(changes);
        }
    }

    fn publish(
        &self,
        live: Live,
        changes: Vec<(&'static str, Change)>,
        waiting: Vec<oneshot::Sender<u64>>,
    ) {
        let revision = live.snapshot.revision;
        let generation = live.snapshot.generation;
        self.live.store(Arc::new(live));
        let at = self.clock.wall();
        for (evidence, change) in changes {
            log(&change);
            self.journal.keep(at, revision, evidence, change);
        }
        self.revision.send_replace(revision);
        for done in waiting {
            // Whoever asked may have gone; the table serves all the same.
            let _ = done.send(generation);
        }
    }
}

/// One line per change; what is lost is a warning, what comes back is news.
fn log(change: &Change) {
    let row = change.row();
    let address = row.address.map(tracing::field::display);
    let ChangeRow {
        kind,
        region,
        from,
        cause,
        message,
        ..
    } = &row;
    let to = row.to.as_deref();
    match row.weight {
        Weight::News => tracing::info!(kind, region, address, from, to, cause, "{message}"),
        Weight::Loss => tracing::warn!(kind, region, address, from, to, cause, "{message}"),
        Weight::Alarm => tracing::error!(kind, region, address, from, to, cause, "{message}"),
    }
}
