//! Probes: one task per endpoint asks it, again and again, whether it is well and how fast.

pub(crate) mod assert;
pub mod http;
mod registry;

pub use crate::probe::registry::ProbeReport;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Histogram};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::probe::http::{ProbeClient, ProbeQuestion};
use crate::probe::registry::{ProbeEntry, ProbeRegistry};
use crate::telemetry::metrics::{MetricsRegistry, families};
use crate::upstream::connect::DialTarget;
use meridian_core::apply::Event;
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::health::rise_fall::Health;
use meridian_core::health::schedule::next_probe;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::{ProbeFailure, ProbeOutcome};

/// So many new endpoints are probed at the same instant; more are spread.
const AT_ONCE: usize = 8;

/// The time that first probes of many new endpoints are spread over, per endpoint and in all.
const SPREAD_EACH: Duration = Duration::from_millis(5);
const SPREAD_MOST: Duration = Duration::from_secs(1);

/// For so long after a region fell its probes are fast: most faults are short, and each viewer
/// pays for every second that it is away.
const FRESH_FALL: Duration = Duration::from_secs(60);

/// A handle to the probes; cheap to clone. They end with the board.
#[derive(Clone, Debug)]
pub struct Prober {
    probes: Arc<ProbeRegistry>,
    changes: watch::Receiver<u64>,
}

impl Prober {
    /// Starts a task that keeps one probe per endpoint of what `board` publishes, on the current
    /// tokio runtime.
    #[must_use]
    pub fn start(board: &Board, clock: Clock, registry: Arc<MetricsRegistry>) -> Self {
        let (changed, changes) = watch::channel(0);
        let probes = Arc::new(ProbeRegistry {
            entries: Mutex::default(),
            changed,
        });
        let supervisor = ProbeSupervisor {
            board: board.clone(),
            clock,
            registry,
            probes: Arc::clone(&probes),
            tasks: JoinSet::new(),
            generation: watch::channel(0).0,
        };
        tokio::spawn(supervisor.run());
        Self { probes, changes }
    }

    /// What was last seen of every endpoint, in order of their slots.
    #[must_use]
    pub fn reports(&self) -> Vec<ProbeReport> {
        let entries = self.probes.lock();
        entries.values().map(|entry| entry.report.clone()).collect()
    }

    /// Wakes whenever a probe ended or an endpoint came or went.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// What is counted of the probes of one region.
#[derive(Debug)]
struct ProbeMetrics {
    passed: Counter,
    failed: Counter,
    connect: Histogram,
    tls: Histogram,
    first_byte: Histogram,
}

impl ProbeMetrics {
    fn new(registry: &MetricsRegistry, region: &str) -> Self {
        let results = |result| registry.counter(&families::PROBE_RESULTS, &[region, result]);
        let took = |phase| registry.histogram(&families::PROBE_DURATION, &[region, phase]);
        Self {
            passed: results("passed"),
            failed: results("failed"),
            connect: took("connect"),
            tls: took("tls"),
            first_byte: took("first_byte"),
        }
    }

    fn record(&self, outcome: &ProbeOutcome) {
        match outcome {
            ProbeOutcome::Passed { phases, .. } => {
                self.passed.increment(1);
                for (phase, took) in [
                    (&self.connect, phases.connect),
                    (&self.tls, phases.tls),
                    (&self.first_byte, phases.first_byte),
                ] {
                    if let Some(took) = took {
                        phase.record(took);
                    }
                }
            }
            ProbeOutcome::Failed(_) => self.failed.increment(1),
        }
    }
}

/// Keeps exactly one task per endpoint.
struct ProbeSupervisor {
    board: Board,
    clock: Clock,
    registry: Arc<MetricsRegistry>,
    probes: Arc<ProbeRegistry>,
    tasks: JoinSet<()>,
    generation: watch::Sender<u64>,
}

impl ProbeSupervisor {
    async fn run(mut self) {
        let mut revisions = self.board.revisions();
        loop {
            revisions.borrow_and_update();
            self.follow(&self.board.live());
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() {
                    return;
                },
                // A task that ended on its own is replaced if its endpoint is still there.
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// Ends the tasks of endpoints that went and starts those of new ones.
    fn follow(&mut self, live: &Live) {
        let generation = live.snapshot.generation;
        self.generation
            .send_if_modified(|seen| std::mem::replace(seen, generation) != generation);
        let wanted: BTreeMap<EndpointId, (RegionId, &EndpointState)> = endpoints(live)
            .map(|(region, endpoint)| (endpoint.id, (region, endpoint)))
            .collect();
        let probes = Arc::clone(&self.probes);
        let mut entries = probes.lock();
        let before = entries.len();
        entries.retain(|id, entry| {
            let stays = wanted.contains_key(id);
            if !stays {
                entry.task.abort();
            }
            stays && !entry.task.is_finished()
        });
        let mut changed = entries.len() != before;
        let missing = wanted.len() - entries.len();
        for (id, (region, endpoint)) in wanted {
            if let Some(entry) = entries.get_mut(&id) {
                entry.follow_suspicion(endpoint.standing.suspected());
                continue;
            }
            let report = ProbeReport {
                endpoint: id,
                region: Arc::clone(&live.snapshot.table.region(region).name),
                address: endpoint.address,
                last: None,
                at: None,
                passed: 0,
                failed: 0,
            };
            entries.insert(id, self.spawn(report, first_delay(missing)));
            changed = true;
        }
        drop(entries);
        if changed {
            probes.touch();
        }
    }

    /// Starts the task of one endpoint.
    fn spawn(&mut self, report: ProbeReport, delay: Duration) -> ProbeEntry {
        let hurry = Arc::new(Notify::new());
        let task = ProbeTask {
            endpoint: report.endpoint,
            board: self.board.clone(),
            clock: self.clock,
            metrics: ProbeMetrics::new(&self.registry, &report.region),
            probes: Arc::clone(&self.probes),
            hurry: Arc::clone(&hurry),
            generation: self.generation.subscribe(),
        };
        let task = self.tasks.spawn(task.run(Instant::now() + delay));
        ProbeEntry {
            report,
            suspected: None,
            hurry,
            task,
        }
    }
}

/// The first probe goes at once; those of many endpoints are spread, so that a start with
/// hundreds does not dial them all in one instant.
fn first_delay(new: usize) -> Duration {
    if new <= AT_ONCE {
        return Duration::ZERO;
    }
    let each = u32::try_from(new).unwrap_or(u32::MAX);
    let spread = SPREAD_EACH.saturating_mul(each).min(SPREAD_MOST);
    spread.mul_f64(fastrand::f64())
}

fn endpoints(live: &Live) -> impl Iterator<Item = (RegionId, &EndpointState)> {
    let regions = live.snapshot.regions.iter().enumerate();
    regions.flat_map(|(index, region)| {
        let id = RegionId::at(index);
        region.endpoints.iter().map(move |endpoint| (id, endpoint))
    })
}

/// Probes one endpoint until it is no longer known.
struct ProbeTask {
    endpoint: EndpointId,
    board: Board,
    clock: Clock,
    metrics: ProbeMetrics,
    probes: Arc<ProbeRegistry>,
    hurry: Arc<Notify>,
    generation: watch::Receiver<u64>,
}

impl ProbeTask {
    async fn run(mut self, first: Instant) {
        let mut client = ProbeClient::default();
        let mut due = first;
        let mut passed = false;
        loop {
            let Some(now) = self.probe(&mut client, due, passed).await else {
                return;
            };
            passed = now;
            let ended = Instant::now();
            let unit = fastrand::f64();
            // Another table may bring another interval; the gap is counted anew then.
            loop {
                let Some(gap) = self.gap(passed, unit) else {
                    return;
                };
                due = ended + gap;
                tokio::select! {
                    () = sleep_until(due) => break,
                    () = self.hurry.notified() => break,
                    changed = self.generation.changed() => if changed.is_err() {
                        return;
                    },
                }
            }
            due = Instant::now();
        }
    }

    /// Probes once, not before `due`; says whether it passed, as before where there is no outcome,
    /// or nothing if the endpoint is gone.
    async fn probe(
        &self,
        client: &mut ProbeClient,
        due: Instant,
        passed_before: bool,
    ) -> Option<bool> {
        sleep_until(due).await;
        let question = self.question(&self.board.live())?;
        let outcome = match question {
            Ok(question) => client.probe(&question).await,
            Err(failure) => Some(ProbeOutcome::Failed(failure)),
        };
        let Some(outcome) = outcome else {
            tracing::warn!("no socket left to probe with");
            return Some(passed_before);
        };
        let passed = matches!(outcome, ProbeOutcome::Passed { .. });
        self.metrics.record(&outcome);
        self.probes
            .record(self.endpoint, &outcome, self.clock.wall());
        self.board.tell(Event::Probed {
            endpoint: self.endpoint,
            outcome,
        });
        Some(passed)
    }

    fn question(&self, live: &Live) -> Option<Result<ProbeQuestion, ProbeFailure>> {
        let (id, endpoint) = live.snapshot.endpoint(self.endpoint)?;
        let region = live.snapshot.table.region(id);
        let origin = region.origins.get(usize::from(endpoint.origin))?;
        let tls = live.resources.upstream_tls.get(id.index());
        let target = match DialTarget::of(region, endpoint, tls.and_then(Option::as_ref)) {
            Ok(target) => target,
            Err(error) => return Some(Err(ProbeFailure::Tls(error.to_string()))),
        };
        let spec = region.probe.clone();
        Some(Ok(ProbeQuestion {
            target,
            region: Arc::clone(&region.name),
            authority: spec.host.clone().unwrap_or_else(|| origin.authority()),
            spec,
        }))
    }

    /// The time until the next probe. A result that disagrees with what we believe means that the
    /// state is changing, whether or not the board has taken it in yet. `unit` is random, 0 to 1.
    fn gap(&self, passed: bool, unit: f64) -> Option<Duration> {
        let live = self.board.live();
        let (id, endpoint) = live.snapshot.endpoint(self.endpoint)?;
        let settled = if passed {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let fell = live.beliefs.regions[id.index()].availability.down_since();
        let fresh = fell.is_some_and(|fell| self.clock.now().since(fell) < FRESH_FALL);
        let changing = fresh
            || endpoint.health != settled
            || endpoint.standing.is_changing()
            || endpoint.standing.is_on_probation();
        let spec = &live.snapshot.table.region(id).probe;
        Some(next_probe(spec, changing, unit))
    }
}
