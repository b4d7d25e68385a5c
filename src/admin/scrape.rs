//! Metrics that are read from state when someone asks, instead of being counted.

use crate::admin::AdminState;
use crate::admin::view::{STAGES, latency_seconds, stage, stage_label};
use crate::telemetry::metrics::{Exposition, MetricFamily, families};
use meridian_core::decide::snapshot::AdminState as Word;
use meridian_core::health::state::Health;
use meridian_core::model::id::RegionId;
use meridian_core::table::failback::FailbackId;

/// What the snapshot and the process say of themselves.
#[must_use]
pub(crate) fn page(state: &AdminState) -> Exposition {
    let mut page = Exposition::default();
    let snapshot = (state.sources.snapshot)();
    let now = state.clock.now();
    page.gauge(&families::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let started = state.clock.unix().saturating_sub(now.since_start());
    page.gauge(&families::PROCESS_START, &[], started.as_secs_f64());
    page.gauge(&families::GENERATION, &[], snapshot.generation as f64);
    // Shown from the start, at zero: an alert needs the series before the first event.
    page.add(&families::CORRELATED_FAILURES, &[], 0);
    let shared = f64::from(u8::from(snapshot.correlated_failure));
    page.gauge(&families::CORRELATED_FAILURE, &[], shared);
    let regions = snapshot.table.regions.iter().zip(&snapshot.regions);
    for (index, (region, beliefs)) in regions.enumerate() {
        let name = region.name.as_ref();
        let flag = |family: &MetricFamily, page: &mut Exposition, holds: bool| {
            page.gauge(family, &[name], f64::from(u8::from(holds)));
        };
        let id = RegionId::at(index);
        let up = snapshot.serving.contains(id);
        flag(&families::REGION_UP, &mut page, up);
        let share = f64::from(beliefs.share(FailbackId::TABLE)) / 100.0;
        page.gauge(&families::REGION_SHARE, &[name], share);
        let now_at = stage_label(&snapshot, id, stage(beliefs));
        for stage in STAGES {
            let is = f64::from(u8::from(stage == now_at));
            page.gauge(&families::REGION_STAGE, &[name, stage], is);
        }
        page.add(&families::EJECTIONS_SUPPRESSED, &[name], 0);
        flag(
            &families::REGION_DRAINED,
            &mut page,
            beliefs.admin == Word::Drained,
        );
        if let Some(latency) = latency_seconds(beliefs, now) {
            page.gauge(&families::REGION_LATENCY, &[name], latency);
        }
        for health in [Health::Healthy, Health::Unproven, Health::Unhealthy] {
            let endpoints = beliefs.endpoints.iter();
            let count = endpoints
                .filter(|endpoint| endpoint.health == health)
                .count();
            page.gauge(
                &families::REGION_ENDPOINTS,
                &[name, health.label()],
                count as f64,
            );
        }
    }
    page
}
