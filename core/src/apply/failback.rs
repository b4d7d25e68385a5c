//! The returns of regions, one for every `[failback]` that the table knows.

use std::sync::Arc;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::RegionState;
use crate::change::{ChangeCause, Changes, What};
use crate::decide::snapshot::{AdminState, EndpointState};
use crate::health::failback::{Condition, Stage};
use crate::health::rise_fall::Health;
use crate::model::id::RegionId;
use crate::table::RoutingTable;

/// Brings every region's failback up to date. Says whether a stage changed.
pub(super) fn advance(beliefs: &mut Beliefs, changes: &mut Changes) -> bool {
    let table = Arc::clone(&beliefs.table);
    let shared = beliefs.correlated_failure;
    let mut changed = false;
    let worse = beliefs.worse;
    let regions = table.regions.iter().zip(&mut beliefs.regions);
    for (id, (region, state)) in (0..).map(RegionId).zip(regions) {
        let is = Condition {
            worse: worse.contains(id) || fails_probes(state),
            ..condition(state, shared)
        };
        state
            .failback
            .resize_with(table.failbacks().len(), Default::default);
        for (place, config) in table.failbacks().iter().enumerate() {
            let failback = &mut state.failback[place];
            let before = *failback;
            let cause = failback.advance(is, config, changes.now);
            let stage = failback.stage();
            // A ramp goes on: what is kept of it says how far.
            changed |= before.stage() != stage || matches!(stage, Stage::Ramping { .. });
            // What fell is told as the region's health; routes' own follow the table's, but
            // for one that a person has to do something about.
            let is_told = if place == 0 {
                stage != Stage::Down
            } else {
                stage == Stage::AwaitingConfirm
            };
            if let (true, Some(cause)) = (is_told, cause) {
                let cause = ChangeCause::Failback(cause);
                changes.tell_region(&region.name, What::Failback(stage), cause);
            }
        }
    }
    changed
}

/// Takes in that the operator agrees to a region's return, under all policies where it waits.
pub(super) fn confirm(
    beliefs: &mut Beliefs,
    name: &str,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let table = Arc::clone(&beliefs.table);
    let region = table.region_named(name)?;
    let state = beliefs.regions.get_mut(region.index())?;
    let mut stage = None;
    for (failback, config) in state.failback.iter_mut().zip(table.failbacks()) {
        if failback.confirm(config, changes.now) {
            stage = stage.or_else(|| Some(failback.stage()));
        }
    }
    let (name, what) = (&table.region(region).name, What::Failback(stage?));
    changes.tell_region(name, what, ChangeCause::Confirmed);
    Some(ChangeCause::Confirmed)
}

/// Brings failbacks into the order of a new table: each goes on from the old one that was
/// written alike, or else from the old table's own.
pub(super) fn follow_policies(regions: &mut [RegionState], old: &RoutingTable, new: &RoutingTable) {
    if old.failbacks() == new.failbacks() {
        return;
    }
    for region in regions {
        let goes_on = |config| {
            let alike = old.failbacks().iter().position(|one| one == config);
            let from = region.failback.get(alike.unwrap_or(0));
            from.copied().unwrap_or_default()
        };
        region.failback = new.failbacks().iter().map(goes_on).collect();
    }
}

/// Whether an endpoint that serves failed its newest probe.
fn fails_probes(region: &RegionState) -> bool {
    let mut endpoints = region.endpoints.iter();
    endpoints.any(|one| one.health == Health::Healthy && one.standing.streak() > 0)
}

fn condition(region: &RegionState, shared: bool) -> Condition {
    Condition {
        well: !region.availability.is_out() && !region.endpoints.is_empty(),
        proven: region.health == Health::Healthy,
        shared: shared && region.availability.down_since().is_some(),
        worse: false,
        capacity: capacity(region),
        forced: region.admin == AdminState::Forced,
    }
}

/// Percent of a region's endpoints that are well. Where none is, but the region keeps its traffic,
/// all are asked.
fn capacity(region: &RegionState) -> u8 {
    let is_well = |one: &&EndpointState| one.health != Health::Unhealthy;
    let well = region.endpoints.iter().filter(is_well).count();
    match (well * 100).checked_div(region.endpoints.len()) {
        Some(percent) if well > 0 => u8::try_from(percent.max(1)).unwrap_or(100),
        _ => 100,
    }
}
