//! Loads a new configuration and hands it to the board: all of it or nothing.

pub(crate) mod difference;
pub(crate) mod fingerprint;
pub(crate) mod watch;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::{Counter, Gauge};
use tokio::sync::watch as channel;
use tokio::time::Instant;

use crate::board::Board;
use crate::clock::Clock;
use crate::load::Refusal;
use crate::reload::difference::{changes, needs_restart};
use crate::reload::fingerprint::Fingerprint;
use crate::resources::Resources;
use crate::telemetry::metrics::{MetricsRegistry, families};
use meridian_core::config::problem::Problem;
use meridian_core::config::problems::Problems;

/// How often a configuration is read again because a file changed while it was being read.
const READINGS: usize = 3;

/// Who asked for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// A watched file changed.
    File,
    /// The process got HUP.
    Signal,
    /// The admin API or the command line.
    Operator,
}

impl Cause {
    /// The cause as a log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Signal => "signal",
            Self::Operator => "operator",
        }
    }
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new configuration serves.
    Installed {
        /// What is different, by name, one line each.
        changes: Vec<String>,
        /// Which of it takes a restart to have an effect.
        needs_restart: Vec<String>,
    },
    /// Nothing is different; what serves goes on.
    Unchanged,
    /// The new configuration is invalid; what serves goes on.
    Refused {
        /// Every problem, as it is shown to people.
        problems: String,
    },
}

impl Outcome {
    /// The outcome as a metric label and log value.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Installed { .. } => "installed",
            Self::Unchanged => "unchanged",
            Self::Refused { .. } => "refused",
        }
    }
}

/// What one reload did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadResult {
    /// Who asked.
    pub cause: Cause,
    /// How it ended.
    pub outcome: Outcome,
    /// The generation that serves now.
    pub generation: u64,
    /// The hash of the text of the configuration that serves now.
    pub content_hash: u64,
    /// From being asked to serving, waiting for an earlier reload not included.
    pub took: Duration,
    /// When it ended, on the wall's clock.
    pub at: SystemTime,
}

impl ReloadResult {
    /// Whether the configuration on disk is the one that serves.
    #[must_use]
    pub fn is_success(&self) -> bool {
        !matches!(self.outcome, Outcome::Refused { .. })
    }
}

/// What is counted of reloads.
#[derive(Debug)]
struct ReloadMetrics {
    installed: Counter,
    unchanged: Counter,
    refused: Counter,
    successful: Gauge,
    success_time: Gauge,
}

impl ReloadMetrics {
    fn new(registry: &MetricsRegistry) -> Self {
        let count = |outcome| registry.counter(&families::RELOADS, &[outcome]);
        Self {
            installed: count("installed"),
            unchanged: count("unchanged"),
            refused: count("refused"),
            successful: registry.gauge(&families::RELOAD_SUCCESSFUL, &[]),
            success_time: registry.gauge(&families::RELOAD_SUCCESS_TIME, &[]),
        }
    }

    fn note(&self, result: &ReloadResult) {
        let count = match &result.outcome {
            Outcome::Installed { .. } => &self.installed,
            Outcome::Unchanged => &self.unchanged,
            Outcome::Refused { .. } => &self.refused,
        };
        count.increment(1);
        if result.is_success() {
            self.succeeded(result.at);
        } else {
            self.successful.set(0);
        }
    }

    fn succeeded(&self, at: SystemTime) {
        self.successful.set(1);
        let at = at.duration_since(SystemTime::UNIX_EPOCH);
        self.success_time.set(at.unwrap_or_default());
    }
}

type Load = dyn Fn() -> Result<Arc<Resources>, Refusal> + Send + Sync;
type Watched = dyn Fn(&Resources) -> Vec<PathBuf> + Send + Sync;

/// What was found on disk.
#[derive(Debug)]
struct SeenFiles {
    /// When a configuration was last read, be it refused: a change from here calls for a reload.
    considered: Fingerprint,
    /// When what serves was read.
    installed: Fingerprint,
}

/// Reloads one configuration, one reload at a time.
pub struct Reloader {
    board: Board,
    clock: Clock,
    load: Arc<Load>,
    watched: Arc<Watched>,
    /// Held during a reload, so that reloads take turns.
    seen: tokio::sync::Mutex<SeenFiles>,
    last: Mutex<Option<Arc<ReloadResult>>>,
    metrics: ReloadMetrics,
    ended: channel::Sender<u64>,
}

impl Reloader {
    /// A reloader for the configuration that `board` serves now and that was loaded just before.
    ///
    /// `load` reads, checks and builds a whole configuration; it may block. `watched` lists the
    /// files a configuration depends on: its own, certificates, keys, authorities, databases.
    #[must_use]
    pub fn new(
        board: Board,
        clock: Clock,
        registry: &MetricsRegistry,
        load: impl Fn() -> Result<Arc<Resources>, Refusal> + Send + Sync + 'static,
        watched: impl Fn(&Resources) -> Vec<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        let found = Fingerprint::of(&watched(&board.live().resources));
        let metrics = ReloadMetrics::new(registry);
        // The configuration the process started with counts as a success.
        metrics.succeeded(clock.wall());
        Self {
            board,
            clock,
            load: Arc::new(load),
            watched: Arc::new(watched),
            seen: tokio::sync::Mutex::new(SeenFiles {
                considered: found.clone(),
                installed: found,
            }),
            last: Mutex::default(),
            metrics,
            ended: channel::channel(0).0,
        }
    }

    /// Loads the configuration again and, if it is valid and different, serves it.
    ///
    /// Gives the result when the new table serves or is refused. A reload that is asked for while
    /// another one runs comes after it.
    pub async fn reload(&self, cause: Cause) -> Arc<ReloadResult> {
        let mut seen = self.seen.lock().await;
        let started = Instant::now();
        let (found, loaded) = self.read(&seen.considered).await;
        let before = self.board.live();
        let outcome = match loaded {
            Err(refusal) => Outcome::Refused {
                problems: refusal.problems.render(false),
            },
            Ok(resources) => {
                let (old, new) = (&before.resources.config, &resources.config);
                let files = seen.installed.changed(&found);
                if old.content_hash == new.content_hash && files.is_empty() {
                    Outcome::Unchanged
                } else {
                    let changes = changes(old, new, &files);
                    let needs_restart = needs_restart(old, new);
                    self.board.install(resources).await;
                    seen.installed = found.clone();
                    Outcome::Installed {
                        changes,
                        needs_restart,
                    }
                }
            }
        };
        seen.considered = found;
        let live = self.board.live();
        let result = Arc::new(ReloadResult {
            cause,
            outcome,
            generation: live.snapshot.generation,
            content_hash: live.resources.config.content_hash,
            took: started.elapsed(),
            at: self.clock.wall(),
        });
        self.note(&result);
        result
    }

    /// The last reload; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<Arc<ReloadResult>> {
        lock(&self.last).clone()
    }

    /// Wakes whenever a reload ended; the value counts them.
    #[must_use]
    pub fn ended(&self) -> channel::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Loads, and loads again if a watched file changed meanwhile, so that what is installed and
    /// what is remembered as found are the same.
    async fn read(
        &self,
        considered: &Fingerprint,
    ) -> (Fingerprint, Result<Arc<Resources>, Refusal>) {
        let (load, watched) = (Arc::clone(&self.load), Arc::clone(&self.watched));
        let serving = watched(&self.board.live().resources);
        let known = considered.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut before = known.again(&serving);
            let mut loaded = load();
            for _ in 1..READINGS {
                let after = before.again(&depends_on(&loaded, &serving, &*watched));
                let torn = before.differs_where_both_looked(&after);
                before = after;
                if !torn {
                    break;
                }
                loaded = load();
            }
            (before, loaded)
        });
        match reading.await {
            Ok(read) => read,
            Err(error) => {
                let text = format!("loading the configuration broke: {error}");
                let problem = Problem::error("unreadable", None, text);
                let refusal = Refusal {
                    problems: Problems::new(Vec::new(), vec![problem]),
                    named: Vec::new(),
                };
                (considered.clone(), Err(refusal))
            }
        }
    }

    fn note(&self, result: &Arc<ReloadResult>) {
        self.metrics.note(result);
        *lock(&self.last) = Some(Arc::clone(result));
        self.ended.send_modify(|count| *count += 1);
        let (cause, generation) = (result.cause.label(), result.generation);
        let took_seconds = result.took.as_secs_f64();
        match &result.outcome {
            Outcome::Installed {
                changes,
                needs_restart,
            } => {
                let changes = changes.join("; ");
                tracing::info!(
                    cause,
                    generation,
                    took_seconds,
                    changes,
                    "configuration reloaded"
                );
                for what in needs_restart {
                    tracing::warn!(what, "this change takes a restart");
                }
            }
            Outcome::Unchanged => {
                tracing::info!(cause, generation, took_seconds, "configuration unchanged");
            }
            Outcome::Refused { problems } => {
                tracing::warn!(
                    cause,
                    generation,
                    problems,
                    "configuration refused; what serves goes on"
                );
            }
        }
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader")
            .field("last", &self.last())
            .finish_non_exhaustive()
    }
}

/// The files to watch after a reading: those of the new configuration, or those of the one that
/// goes on and of the refused one.
fn depends_on(
    loaded: &Result<Arc<Resources>, Refusal>,
    serving: &[PathBuf],
    watched: &Watched,
) -> Vec<PathBuf> {
    match loaded {
        Ok(resources) => watched(resources),
        Err(error) => serving.iter().chain(&error.named).cloned().collect(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
