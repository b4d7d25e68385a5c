//! The control side of the metrics: builds the workers' cells, keeps them across reloads, sums
//! them up at a scrape.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::telemetry::histogram::{Cell, Histogram, HistogramTotals};
use crate::telemetry::metrics::exposition::{Format, Page, Value};
use crate::telemetry::metrics::labels::{Labels, NONE};
use crate::telemetry::metrics::shard::{
    CodeClass, RegionCells, RequestMetrics, ResumeResult, SeriesCells, Shard, WorkerCells,
};
use crate::telemetry::metrics::{self, Family};
use meridian_core::decide::Rule;
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::viewer::ViewerSource;
use meridian_core::table::RoutingTable;

/// Routes with a label of their own; the others share "other".
pub const ROUTE_LABELS: usize = 50;
/// Regions with a label of their own; the others share "other".
pub const REGION_LABELS: usize = 20;
/// Series the control plane may make. Its labels are closed sets, so this is never reached
/// unless a caller puts something open into a label.
const CONTROL_SERIES: usize = 10_000;

/// All metrics of a process. Shared by the control side; workers hold what
/// [`MetricsRegistry::request_metrics`] gives.
#[derive(Debug, Default)]
pub struct MetricsRegistry {
    state: Mutex<State>,
}

type Names = (String, String);

/// Cells are held by the tables that use them and known here by name: a table that is gone takes
/// the cells nobody else has with it.
#[derive(Debug, Default)]
struct State {
    series: BTreeMap<Names, Vec<Weak<SeriesCells>>>,
    regions: BTreeMap<String, Vec<Weak<RegionCells>>>,
    workers: Vec<Arc<WorkerCells>>,
    control: BTreeMap<(&'static str, Vec<String>), (&'static Family, Value)>,
    over_budget: [usize; 2],
}

/// What a scrape brings along: the state of the control plane at this moment.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Which text to write.
    pub format: Format,
    /// Gauges and counters read from state.
    pub page: Page,
}

impl MetricsRegistry {
    /// The cells for `table` and this many workers (at least one). Routes and regions that an
    /// earlier table named too keep their counts.
    #[must_use]
    pub fn request_metrics(&self, table: &RoutingTable, workers: usize) -> RequestMetrics {
        let workers = workers.max(1);
        let mut state = self.lock();
        state.forget_the_dropped();
        let route_names: Vec<&str> = table
            .routes
            .iter()
            .map(|route| route.name.as_ref())
            .collect();
        let region_names: Vec<&str> = table
            .regions
            .iter()
            .map(|region| region.name.as_ref())
            .collect();
        let known_route = |name: &str| state.series.keys().any(|(route, _)| route == name);
        let routes = Labels::choose(&route_names, ROUTE_LABELS, known_route);
        let known_region = |name: &str| state.regions.contains_key(name);
        let regions = Labels::choose(&region_names, REGION_LABELS, known_region);
        state.warn_over_budget(&routes, &regions);

        let width = regions.labels.len();
        let used = used_pairs(table, &routes, &regions);
        while state.workers.len() < workers {
            state.workers.push(Arc::default());
        }
        let shards = (0..workers).map(|worker| {
            let mut series: Vec<Arc<SeriesCells>> = Vec::with_capacity(routes.labels.len() * width);
            for (slot, route) in routes.labels.iter().enumerate() {
                let none = state.series_cells(worker, route, NONE);
                for (region_slot, region) in regions.labels.iter().enumerate() {
                    series.push(if used[slot * width + region_slot] {
                        state.series_cells(worker, route, region)
                    } else {
                        Arc::clone(&none)
                    });
                }
            }
            Shard {
                series,
                regions: regions
                    .labels
                    .iter()
                    .map(|r| state.region_cells(worker, r))
                    .collect(),
                worker: Arc::clone(&state.workers[worker]),
            }
        });
        let shards = shards.collect();
        RequestMetrics {
            route_slots: routes.slots,
            region_slots: regions.slots,
            width,
            shards,
        }
    }

    /// Adds to a counter of the control plane. `labels` are values in the order of the family's
    /// names, each from a closed set.
    pub fn count(&self, family: &'static Family, labels: &[&str], amount: u64) {
        let mut state = self.lock();
        if let Some(Value::Number(total)) = state.control(family, labels, || Value::Number(0.0)) {
            *total += amount as f64;
        }
    }

    /// Sets a gauge of the control plane.
    pub fn set(&self, family: &'static Family, labels: &[&str], value: f64) {
        let mut state = self.lock();
        if let Some(Value::Number(now)) = state.control(family, labels, || Value::Number(0.0)) {
            *now = value;
        }
    }

    /// Counts a duration of the control plane.
    pub fn observe(&self, family: &'static Family, labels: &[&str], duration: Duration) {
        let mut state = self.lock();
        if let Some(Value::Durations(totals)) =
            state.control(family, labels, || Value::Durations(Box::default()))
        {
            totals.record(duration);
        }
    }

    /// The whole page as text.
    #[must_use]
    pub fn render(&self, scrape: Scrape) -> String {
        let Scrape { format, mut page } = scrape;
        let state = self.lock();
        for ((_, labels), (family, value)) in &state.control {
            page.add(family, labels.clone(), value.clone());
        }
        for ((route, region), cells) in &state.series {
            let cells: Vec<_> = cells.iter().filter_map(Weak::upgrade).collect();
            add_series(&mut page, route, region, &cells);
        }
        for (region, cells) in &state.regions {
            let cells: Vec<_> = cells.iter().filter_map(Weak::upgrade).collect();
            add_region(&mut page, region, &cells);
        }
        add_workers(&mut page, &state.workers);
        for (label, over) in ["route", "region"].iter().zip(state.over_budget) {
            page.number(&metrics::LABELS_OVER_BUDGET, &[label], over as f64);
        }
        drop(state);
        page.render(format)
    }

    /// A panic elsewhere cannot leave counts in a state worth refusing.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget_the_dropped(&mut self) {
        self.series
            .retain(|_, cells| cells.iter().any(|cell| cell.strong_count() > 0));
        self.regions
            .retain(|_, cells| cells.iter().any(|cell| cell.strong_count() > 0));
    }

    fn series_cells(&mut self, worker: usize, route: &str, region: &str) -> Arc<SeriesCells> {
        let names = (route.to_owned(), region.to_owned());
        revive(self.series.entry(names).or_default(), worker)
    }

    fn region_cells(&mut self, worker: usize, region: &str) -> Arc<RegionCells> {
        revive(self.regions.entry(region.to_owned()).or_default(), worker)
    }

    fn control(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        new: impl FnOnce() -> Value,
    ) -> Option<&mut Value> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let key = (family.name, labels);
        if self.control.len() >= CONTROL_SERIES && !self.control.contains_key(&key) {
            return None;
        }
        let (_, value) = self.control.entry(key).or_insert_with(|| (family, new()));
        Some(value)
    }

    fn warn_over_budget(&mut self, routes: &Labels, regions: &Labels) {
        let over = [routes.over, regions.over];
        if over != self.over_budget && over != [0, 0] {
            tracing::warn!(
                routes = routes.over,
                regions = regions.over,
                "more routes or regions than metrics have labels for; the rest count as other"
            );
        }
        self.over_budget = over;
    }
}

/// The worker's cells in a list by worker, made anew where nobody holds them any more.
fn revive<T: Default>(cells: &mut Vec<Weak<T>>, worker: usize) -> Arc<T> {
    while cells.len() <= worker {
        cells.push(Weak::new());
    }
    cells[worker].upgrade().unwrap_or_else(|| {
        let fresh = Arc::default();
        cells[worker] = Arc::downgrade(&fresh);
        fresh
    })
}

/// Which pairs of route and region can occur: most routes use few regions, and each series costs
/// more than a kibibyte per worker.
fn used_pairs(table: &RoutingTable, routes: &Labels, regions: &Labels) -> Vec<bool> {
    let width = regions.labels.len();
    let mut used = vec![false; routes.labels.len() * width];
    for (route, slot) in table.routes.iter().zip(&routes.slots) {
        for region in route.regions.iter().map(RegionId::index) {
            if let Some(region) = regions.slots.get(region) {
                used[usize::from(*slot) * width + usize::from(*region)] = true;
            }
        }
    }
    used
}

fn add_series(page: &mut Page, route: &str, region: &str, cells: &[Arc<SeriesCells>]) {
    let labels = [route, region];
    for (place, class) in CodeClass::ALL.iter().enumerate() {
        let total = sum(cells, |cells| &cells.codes[place]);
        some_number(
            page,
            &metrics::REQUESTS,
            &[route, region, class.label()],
            total,
        );
    }
    for rule in Rule::ALL {
        let total = sum(cells, |cells| &cells.decisions[rule.index()]);
        some_number(
            page,
            &metrics::DECISIONS,
            &[route, region, rule.label()],
            total,
        );
    }
    for (place, kind) in ErrorKind::ALL.iter().enumerate() {
        let total = sum(cells, |cells| &cells.failovers[place]);
        some_number(
            page,
            &metrics::FAILOVERS,
            &[route, region, kind.label()],
            total,
        );
    }
    some_durations(page, &metrics::REQUEST_DURATION, &labels, cells, |cells| {
        &cells.duration
    });
    some_durations(
        page,
        &metrics::UPSTREAM_FIRST_BYTE,
        &labels,
        cells,
        |cells| &cells.first_byte,
    );
}

fn add_region(page: &mut Page, region: &str, cells: &[Arc<RegionCells>]) {
    if region == NONE {
        return;
    }
    for (place, kind) in ErrorKind::ALL.iter().enumerate() {
        let total = sum(cells, |cells| &cells.failures[place]);
        some_number(
            page,
            &metrics::ATTEMPT_FAILURES,
            &[region, kind.label()],
            total,
        );
    }
    // These are shown from the start, at zero: an alert needs the series before the first event.
    let labels = [region];
    let total = |cell: fn(&RegionCells) -> &Cell| sum(cells, cell) as f64;
    page.number(&metrics::RETRIES, &labels, total(|cells| &cells.retries));
    let won = total(|cells| &cells.hedges_won);
    page.number(&metrics::HEDGES, &[region, "won"], won);
    let lost = total(|cells| &cells.hedges_lost);
    page.number(&metrics::HEDGES, &[region, "lost"], lost);
    for result in ResumeResult::ALL {
        let count = sum(cells, |cells| &cells.resumes[result as usize]) as f64;
        page.number(&metrics::RESUMES, &[region, result.label()], count);
    }
    let exhausted = total(|cells| &cells.budget_exhausted);
    page.number(&metrics::RETRY_BUDGET_EXHAUSTED, &labels, exhausted);
    let good = total(|cells| &cells.probation_good);
    page.number(&metrics::PROBATION_REQUESTS, &[region, "good"], good);
    let bad = total(|cells| &cells.probation_bad);
    page.number(&metrics::PROBATION_REQUESTS, &[region, "bad"], bad);
    let suspicions = total(|cells| &cells.suspicions);
    page.number(&metrics::SUSPICIONS, &labels, suspicions);
    let opened = total(|cells| &cells.connections_opened);
    page.number(&metrics::UPSTREAM_CONNECTIONS_OPENED, &labels, opened);
    let reused = total(|cells| &cells.connections_reused);
    page.number(&metrics::UPSTREAM_CONNECTIONS_REUSED, &labels, reused);
    let family = &metrics::UPSTREAM_DURATION;
    some_durations(page, family, &[region, "connect"], cells, |cells| {
        &cells.connect
    });
    some_durations(page, family, &[region, "tls"], cells, |cells| &cells.tls);
}

fn add_workers(page: &mut Page, cells: &[Arc<WorkerCells>]) {
    for (place, source) in ViewerSource::ALL.iter().enumerate() {
        let total = sum(cells, |cells| &cells.viewer_sources[place]) as f64;
        page.number(&metrics::VIEWER_SOURCES, &[source.label()], total);
    }
    let mut total = |family: &Family, cell: fn(&WorkerCells) -> &Cell| {
        page.number(family, &[], sum(cells, cell) as f64);
    };
    total(&metrics::REQUESTS_IN_FLIGHT, |cells| &cells.in_flight);
    total(&metrics::STRIPPED_HEADERS, |cells| &cells.stripped_headers);
    total(&metrics::REPLAY_OVERFLOWS, |cells| &cells.replay_overflows);
    total(&metrics::HOLDS_DENIED, |cells| &cells.holds_denied);
    total(&metrics::IDLE_EVICTED, |cells| &cells.idle_evicted);
    total(&metrics::UPLOADS_CUT, |cells| &cells.uploads_cut);
    total(&metrics::EVIDENCE_CROWDED_OUT, |cells| {
        &cells.evidence_crowded_out
    });
    total(&metrics::BYTES_IN, |cells| &cells.bytes_in);
    total(&metrics::BYTES_OUT, |cells| &cells.bytes_out);
}

fn sum<T>(cells: &[Arc<T>], cell: impl Fn(&T) -> &Cell) -> u64 {
    cells.iter().map(|cells| cell(cells).value()).sum()
}

/// Series that never counted are left out: routes times regions times reasons is a large page.
fn some_number(page: &mut Page, family: &Family, labels: &[&str], total: u64) {
    if total > 0 {
        page.number(family, labels, total as f64);
    }
}

fn some_durations<T>(
    page: &mut Page,
    family: &Family,
    labels: &[&str],
    cells: &[Arc<T>],
    histogram: impl Fn(&T) -> &Histogram,
) {
    let mut totals = HistogramTotals::default();
    for cells in cells {
        totals.include(histogram(cells));
    }
    if totals.count() > 0 {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        page.add(family, labels, Value::Durations(Box::new(totals)));
    }
}
