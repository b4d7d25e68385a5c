//! Builds every part once, wires them, and drains them on stop.

mod admin;
mod confirm;
mod drain_report;
mod error;
mod names;
mod scrape;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::AdminServer;
use crate::admin::health::Flags;
use crate::app::admin::AdminParts;
pub use crate::app::drain_report::DrainReport;
pub use crate::app::error::AppError;
use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::descriptors::{raise_limit, shortage};
use crate::edge::counters::EdgeCounters;
use crate::load;
use crate::probe::Prober;
use crate::reload::{Cause, ReloadResult, Reloader};
use crate::resources::{BuildContext, Resources};
use crate::state::{self, StateStore};
use crate::telemetry::access_log::{AccessLog, WorkerLog};
use crate::telemetry::metrics::MetricsRegistry;
use crate::worker::{self, WorkerParts, WorkerPhase};
use meridian_core::apply::{Beliefs, Event, apply};
use meridian_core::config::{AccessLogConfig, Config, DrainConfig};

/// How long the access log may take to write its last lines.
const LOG_LIMIT: Duration = Duration::from_secs(2);

/// Between two looks at how many connections are left.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A running proxy. When it is dropped its workers end at once.
#[derive(Debug)]
pub struct App {
    board: Board,
    registry: Arc<MetricsRegistry>,
    reloader: Arc<Reloader>,
    flags: Arc<Flags>,
    counters: Vec<Arc<EdgeCounters>>,
    phase: watch::Sender<WorkerPhase>,
    workers: Vec<JoinHandle<()>>,
    log: Arc<AccessLog>,
    admin: Option<SocketAddr>,
    store: Arc<StateStore>,
    tasks: tokio::task::JoinSet<()>,
}

impl App {
    /// Builds and starts everything `config`, which was read from `source`, asks for. Listeners
    /// are bound when this returns.
    ///
    /// # Errors
    /// When anything it names cannot be used.
    pub async fn start(config: Config, source: PathBuf) -> Result<Self, AppError> {
        let clock = Clock::start();
        let registry = Arc::new(MetricsRegistry::default());
        let workers = worker_count(&config);
        allow_files(&config, workers);
        // The admin address first: a second proxy on this machine is told so before it takes
        // half of a port's connections.
        let server = AdminServer::bind(&config.admin).await?;
        let resources = build(config, &registry, workers, clock.wall())?;
        let access_log = &resources.config.access_log;
        let (log, worker_logs) = open_log(access_log, workers, &registry)?;
        let log = Arc::new(log);
        let board = start_board(resources, clock, &registry);
        names::follow(&board, &registry);
        let prober = Prober::start(&board, clock, Arc::clone(&registry));
        let reloader = reloader(&board, clock, &registry, source, workers);
        let store = Arc::new(StateStore::new(board.clone(), clock, &registry));
        let flags = Arc::new(Flags::default());
        let counters: Vec<_> = (0..workers)
            .map(|_| Arc::new(EdgeCounters::new(&registry)))
            .collect();
        let (phase, watched) = watch::channel(WorkerPhase::Serving);
        let threads = start_workers(worker_logs, &counters, &board, clock, &watched)?;
        flags.listening.store(true, Ordering::Release);
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(&reloader).watch());
        tasks.spawn(Arc::clone(&store).keep());
        let following = follow_reloads(Arc::clone(&reloader), board.clone(), Arc::clone(&log));
        tasks.spawn(following);
        let admin = server.as_ref().map(AdminServer::address);
        let parts = AdminParts {
            clock,
            board: board.clone(),
            registry: Arc::clone(&registry),
            flags: Arc::clone(&flags),
            prober,
            reloader: Arc::clone(&reloader),
        };
        if let Some(server) = server {
            let state = Arc::new(admin::state(parts));
            tasks.spawn(Arc::clone(&state).count_changes());
            tasks.spawn(async move { match server.serve(state).await {} });
        }
        Ok(Self {
            board,
            registry,
            reloader,
            flags,
            counters,
            phase,
            workers: threads,
            log,
            admin,
            store,
            tasks,
        })
    }

    /// What is published.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What it counts in. Installed as the global recorder of the `metrics` facade, it shows what
    /// other code of the process counts too.
    #[must_use]
    pub fn metrics(&self) -> &Arc<MetricsRegistry> {
        &self.registry
    }

    /// The addresses viewers connect to, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.board.live().resources.addresses()
    }

    /// The address operators connect to.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Loads the configuration again.
    pub async fn reload(&self) -> Arc<ReloadResult> {
        self.reloader.reload(Cause::Operator).await
    }

    /// Connections open now.
    #[must_use]
    pub fn active_connections(&self) -> u64 {
        self.counters
            .iter()
            .map(|counters| counters.active.value())
            .sum()
    }

    /// Serves until TERM or INT, reloading at each HUP, then drains. A second INT or TERM ends
    /// the drain at once.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub async fn serve_until_stopped(self) -> std::io::Result<DrainReport> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut stop = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                _ = hangup.recv() => {
                    self.reloader.reload(Cause::Signal).await;
                }
            }
        }
        let drain = self.board.live().resources.config.drain;
        tracing::info!(delay = ?drain.delay, timeout = ?drain.timeout, "draining");
        Ok(self.drain(drain, stopped(&mut stop)).await)
    }

    /// Stops as [`DrainConfig`] says, or at once when `hurry` ends.
    pub async fn drain(
        mut self,
        drain: DrainConfig,
        hurry: impl Future<Output = ()>,
    ) -> DrainReport {
        let started = Instant::now();
        self.flags.draining.store(true, Ordering::Release);
        let mut connections = 0;
        {
            let finish = async {
                tokio::time::sleep(drain.delay).await;
                connections = self.active_connections();
                self.phase.send_replace(WorkerPhase::Finishing);
                let until = Instant::now() + drain.timeout;
                // A worker ends by itself once its last connection has.
                let over = || self.workers.iter().all(JoinHandle::is_finished);
                while !over() && Instant::now() < until {
                    tokio::time::sleep(DRAIN_POLL).await;
                }
            };
            tokio::select! {
                () = finish => {}
                () = hurry => {}
            }
        }
        let cut = self.active_connections();
        self.phase.send_replace(WorkerPhase::Ended);
        let threads = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            // A worker that panicked has said so already.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        let _ = joined.await;
        self.tasks.shutdown().await;
        Arc::clone(&self.store).finish().await;
        let log = Arc::clone(&self.log);
        let _ = tokio::task::spawn_blocking(move || log.finish(LOG_LIMIT)).await;
        DrainReport {
            connections: connections.max(cut),
            cut,
            took: started.elapsed(),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.phase.send_replace(WorkerPhase::Ended);
    }
}

async fn stopped(signals: &mut (Signal, Signal)) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if config.workers == 0 {
        cores()
    } else {
        config.workers
    }
}

fn open_log(
    config: &AccessLogConfig,
    workers: usize,
    registry: &MetricsRegistry,
) -> Result<(AccessLog, Vec<WorkerLog>), AppError> {
    AccessLog::start(config, workers, registry).map_err(|cause| AppError::System {
        what: "open the access log",
        cause,
    })
}

fn start_workers(
    logs: Vec<WorkerLog>,
    counters: &[Arc<EdgeCounters>],
    board: &Board,
    clock: Clock,
    phase: &watch::Receiver<WorkerPhase>,
) -> Result<Vec<JoinHandle<()>>, AppError> {
    let logs = logs.into_iter().zip(counters).enumerate();
    let parts = logs.map(|(number, (log, counters))| WorkerParts {
        number,
        board: board.clone(),
        clock,
        log,
        counters: Arc::clone(counters),
        phase: phase.clone(),
    });
    let started = parts.map(worker::start).collect::<Result<_, _>>();
    started.map_err(|cause| AppError::System {
        what: "start a worker",
        cause,
    })
}

/// Raises the limit of open files, and says if it is too low all the same.
fn allow_files(config: &Config, workers: usize) {
    let connections = config.limits.connections_per_worker as u64 * workers as u64;
    if let Some(shortage) = shortage(raise_limit(), connections) {
        tracing::warn!("{shortage}");
    }
}

fn build(
    config: Config,
    registry: &MetricsRegistry,
    workers: usize,
    now: SystemTime,
) -> Result<Arc<Resources>, AppError> {
    let context = BuildContext {
        registry,
        workers,
        now,
        binds: true,
        before: None,
    };
    Resources::build(Arc::new(config), context)
        .map(Arc::new)
        .map_err(AppError::Config)
}

fn start_board(resources: Arc<Resources>, clock: Clock, registry: &MetricsRegistry) -> Board {
    let table = Event::Table {
        table: Arc::clone(&resources.config.table),
        unknown: resources.config.viewer.unknown,
    };
    let (mut beliefs, _) = apply(&Beliefs::default(), table, clock.now());
    // Before there is a request: the first one knows already which region is down.
    if let Some(restored) = state::restore(&resources, clock) {
        (beliefs, _) = apply(&beliefs, restored, clock.now());
    }
    Board::start(Live::new(Arc::new(beliefs), resources), clock, registry)
}

fn reloader(
    board: &Board,
    clock: Clock,
    registry: &Arc<MetricsRegistry>,
    source: PathBuf,
    workers: usize,
) -> Arc<Reloader> {
    let (reader, for_building) = (board.clone(), Arc::clone(registry));
    let again = move || {
        let before = reader.live();
        let context = BuildContext {
            registry: &for_building,
            workers,
            now: clock.wall(),
            binds: true,
            before: Some(&before.resources),
        };
        load::build(&source, context).map(Arc::new)
    };
    Arc::new(Reloader::new(
        board.clone(),
        clock,
        registry,
        again,
        Resources::files,
    ))
}

/// After each reload the access log goes where the new configuration says.
async fn follow_reloads(reloader: Arc<Reloader>, board: Board, log: Arc<AccessLog>) {
    let mut ended = reloader.ended();
    while ended.changed().await.is_ok() {
        log.reconfigure(&board.live().resources.config.access_log);
    }
}
