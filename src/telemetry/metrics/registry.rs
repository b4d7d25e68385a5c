//! All metrics of one proxy: makes the workers' cells, keeps them across reloads, and adds up what
//! everyone counted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::telemetry::metrics::exposition::Exposition;
use crate::telemetry::metrics::families;
use crate::telemetry::metrics::labels::{Labels, NONE};
use crate::telemetry::metrics::series::SharedSeries;
use crate::telemetry::metrics::worker::{RequestMetrics, WorkerShard};
use crate::telemetry::metrics::worker_cells::{RegionCells, SeriesCells, WorkerCells};
use meridian_core::model::id::RegionId;
use meridian_core::table::RoutingTable;

/// Routes with a label of their own; the others share "other".
pub const ROUTE_LABELS: usize = 50;
/// Regions with a label of their own; the others share "other".
pub const REGION_LABELS: usize = 20;

/// All metrics of a process: a recorder of the `metrics` facade, and the owner of what workers
/// count in. There is one for each proxy, handed to whoever counts.
#[derive(Debug, Default)]
pub struct MetricsRegistry {
    cells: Mutex<CellIndex>,
    series: Mutex<SharedSeries>,
}

impl Default for RequestMetrics {
    /// For an empty table and one worker.
    fn default() -> Self {
        MetricsRegistry::default().request_metrics(&RoutingTable::default(), 1)
    }
}

/// Cells are held by the tables that use them and known here by name, one for each worker: a table
/// that is gone takes the cells nobody else has with it.
#[derive(Debug, Default)]
struct CellIndex {
    /// By route and region.
    series: BTreeMap<(String, String), Vec<Weak<SeriesCells>>>,
    regions: BTreeMap<String, Vec<Weak<RegionCells>>>,
    workers: Vec<Arc<WorkerCells>>,
    over_budget: [usize; 2],
}

impl MetricsRegistry {
    /// The cells for `table` and this many workers (at least one). Routes and regions that an
    /// earlier table named too keep their counts.
    #[must_use]
    pub fn request_metrics(&self, table: &RoutingTable, workers: usize) -> RequestMetrics {
        let workers = workers.max(1);
        let mut cells = self.cells();
        cells.forget_the_dropped();
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
        let known_route = |name: &str| cells.series.keys().any(|(route, _)| route == name);
        let routes = Labels::choose(&route_names, ROUTE_LABELS, known_route);
        let known_region = |name: &str| cells.regions.contains_key(name);
        let regions = Labels::choose(&region_names, REGION_LABELS, known_region);
        cells.warn_over_budget(&routes, &regions);

        let width = regions.labels.len();
        let used = used_pairs(table, &routes, &regions);
        while cells.workers.len() < workers {
            cells.workers.push(Arc::default());
        }
        let shards = (0..workers).map(|worker| {
            let mut series: Vec<Arc<SeriesCells>> = Vec::with_capacity(routes.labels.len() * width);
            for (slot, route) in routes.labels.iter().enumerate() {
                let none = cells.series_cells(worker, route, NONE);
                for (region_slot, region) in regions.labels.iter().enumerate() {
                    series.push(if used[slot * width + region_slot] {
                        cells.series_cells(worker, route, region)
                    } else {
                        Arc::clone(&none)
                    });
                }
            }
            WorkerShard {
                series,
                regions: regions
                    .labels
                    .iter()
                    .map(|r| cells.region_cells(worker, r))
                    .collect(),
                worker: Arc::clone(&cells.workers[worker]),
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

    /// Adds all that is counted to a page.
    pub fn collect(&self, page: &mut Exposition) {
        self.series().collect(page);
        let cells = self.cells();
        for ((route, region), workers) in &cells.series {
            for worker in workers.iter().filter_map(Weak::upgrade) {
                worker.collect(route, region, page);
            }
        }
        for (region, workers) in cells.regions.iter().filter(|(region, _)| *region != NONE) {
            for worker in workers.iter().filter_map(Weak::upgrade) {
                worker.collect(region, page);
            }
        }
        for worker in &cells.workers {
            worker.collect(page);
        }
        for (label, over) in ["route", "region"].iter().zip(cells.over_budget) {
            page.gauge(&families::LABELS_OVER_BUDGET, &[label], over as f64);
        }
    }

    pub(super) fn series(&self) -> MutexGuard<'_, SharedSeries> {
        lock(&self.series)
    }

    fn cells(&self) -> MutexGuard<'_, CellIndex> {
        lock(&self.cells)
    }
}

/// A panic elsewhere cannot leave counts in the cells worth refusing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CellIndex {
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
