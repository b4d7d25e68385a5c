//! Metrics that are read from state when someone asks, instead of being counted.

use crate::admin::AdminState;
use crate::admin::view::{STAGES, latency_seconds, stage, stage_label};
use crate::telemetry::metrics::exposition::Page;
use crate::telemetry::metrics::{self, Family};
use meridian_core::decide::snapshot::AdminState as Word;
use meridian_core::health::state::Health;
use meridian_core::model::id::RegionId;
use meridian_core::table::failback::FailbackId;

/// What the snapshot and the process say of themselves.
#[must_use]
pub(crate) fn page(state: &AdminState) -> Page {
    let mut page = Page::default();
    let snapshot = (state.sources.snapshot)();
    let now = state.clock.now();
    page.number(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1.0);
    let started = state.clock.unix().saturating_sub(now.since_start());
    page.number(&metrics::PROCESS_START, &[], started.as_secs_f64());
    page.number(&metrics::GENERATION, &[], snapshot.generation as f64);
    if let Some(reload) = (state.sources.last_reload)() {
        let flag = f64::from(u8::from(reload.successful));
        page.number(&metrics::RELOAD_SUCCESSFUL, &[], flag);
    }
    // Shown from the start, at zero: an alert needs the series before the first event.
    state.registry.count(&metrics::SHARED_FATES, &[], 0);
    let shared = f64::from(u8::from(snapshot.correlated_failure));
    page.number(&metrics::CORRELATED_WITHIN, &[], shared);
    let regions = snapshot.table.regions.iter().zip(&snapshot.regions);
    for (index, (region, beliefs)) in regions.enumerate() {
        let name = region.name.as_ref();
        let flag = |family: &Family, page: &mut Page, holds: bool| {
            page.number(family, &[name], f64::from(u8::from(holds)));
        };
        let id = RegionId::at(index);
        let up = snapshot.serving.contains(id);
        flag(&metrics::REGION_UP, &mut page, up);
        let share = f64::from(beliefs.share(FailbackId::TABLE)) / 100.0;
        page.number(&metrics::REGION_SHARE, &[name], share);
        let now_at = stage_label(&snapshot, id, stage(beliefs));
        for stage in STAGES {
            let is = f64::from(u8::from(stage == now_at));
            page.number(&metrics::REGION_STAGE, &[name, stage], is);
        }
        state
            .registry
            .count(&metrics::EJECTIONS_SUPPRESSED, &[name], 0);
        flag(
            &metrics::REGION_DRAINED,
            &mut page,
            beliefs.admin == Word::Drained,
        );
        if let Some(latency) = latency_seconds(beliefs, now) {
            page.number(&metrics::REGION_LATENCY, &[name], latency);
        }
        for health in [Health::Healthy, Health::Unproven, Health::Unhealthy] {
            let endpoints = beliefs.endpoints.iter();
            let count = endpoints
                .filter(|endpoint| endpoint.health == health)
                .count();
            page.number(
                &metrics::REGION_ENDPOINTS,
                &[name, health.label()],
                count as f64,
            );
        }
    }
    page
}
