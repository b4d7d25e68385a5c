//! Metrics that are read from state when someone asks, instead of being counted.

use crate::admin::context::AdminContext;
use crate::admin::view::{STAGES, latency_seconds, stage, stage_label};
use crate::telemetry::metrics::{Exposition, families};
use meridian_core::apply::Beliefs;
use meridian_core::decide::snapshot::AdminState;
use meridian_core::health::rise_fall::Health;
use meridian_core::model::id::RegionId;
use meridian_core::model::time::Timestamp;

/// What is believed and the process say of themselves.
#[must_use]
pub(crate) fn page(state: &AdminContext) -> Exposition {
    let mut page = Exposition::default();
    let beliefs = (state.sources.beliefs)();
    let now = state.clock.now();
    page.gauge(&families::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let started = state.clock.unix().saturating_sub(now.since_start());
    page.gauge(&families::PROCESS_START, &[], started.as_secs_f64());
    page.gauge(&families::GENERATION, &[], beliefs.generation as f64);
    page.add(&families::HISTORY_DROPPED, &[], state.journal.dropped());
    // Shown from the start, at zero: an alert needs the series before the first event.
    page.add(&families::CORRELATED_FAILURES, &[], 0);
    let shared = f64::from(u8::from(beliefs.correlated_failure));
    page.gauge(&families::CORRELATED_FAILURE, &[], shared);
    for index in 0..beliefs.regions.len() {
        add_region(&mut page, &beliefs, RegionId::at(index), now);
    }
    page
}

fn add_region(page: &mut Exposition, beliefs: &Beliefs, id: RegionId, now: Timestamp) {
    let region = &beliefs.regions[id.index()];
    let name = beliefs.table.region(id).name.as_ref();
    page.add(&families::EJECTIONS_SUPPRESSED, &[name], 0);
    let mut gauge = |family, value| page.gauge(family, &[name], value);
    let flag = |holds| f64::from(u8::from(holds));
    gauge(&families::REGION_UP, flag(region.serves()));
    let drained = region.admin == AdminState::Drained;
    gauge(&families::REGION_DRAINED, flag(drained));
    let share = f64::from(stage(region).share()) / 100.0;
    gauge(&families::REGION_SHARE, share);
    if let Some(latency) = latency_seconds(region, now) {
        gauge(&families::REGION_LATENCY, latency);
    }
    let now_at = stage_label(region, stage(region));
    for stage in STAGES {
        let is = flag(stage == now_at);
        page.gauge(&families::REGION_STAGE, &[name, stage], is);
    }
    for health in [Health::Healthy, Health::Unproven, Health::Unhealthy] {
        let endpoints = region.endpoints.iter();
        let count = endpoints.filter(|endpoint| endpoint.health == health);
        let labels = [name, health.label()];
        page.gauge(&families::REGION_ENDPOINTS, &labels, count.count() as f64);
    }
}
