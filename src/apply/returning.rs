//! The regions' ways back, one for every `[failback]` that the table knows.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::Transition;
use crate::decide::snapshot::{AdminState, RegionState, Snapshot};
use crate::health::failback::{Condition, Stage};
use crate::health::state::{Condemner, Health};
use crate::model::id::{RegionId, RegionSet};
use crate::model::time::Timestamp;
use crate::table::RoutingTable;

/// Regions that all fall within this time share a fate: two default probe intervals and the
/// probes that confirm, so that probes alone can tell.
const SHARED_FATE: Duration = Duration::from_secs(15);

/// Brings every region's way back up to date, and the sets that decisions look at. Says whether
/// anything changed that a reader may see.
pub(super) fn advance(
    snapshot: &mut Snapshot,
    now: Timestamp,
    transitions: &mut Vec<Transition>,
) -> bool {
    let table = Arc::clone(&snapshot.table);
    for region in &mut snapshot.regions {
        region.fell = match (is_well(region), region.fell) {
            (true, _) => None,
            (false, fell) => fell.or(Some(now)),
        };
    }
    let shared = shares_fate(&snapshot.regions);
    let mut changed = false;
    let worse = snapshot.worse;
    let regions = table.regions.iter().zip(&mut snapshot.regions);
    for (id, (region, state)) in (0..).map(RegionId).zip(regions) {
        let is = Condition {
            worse: worse.contains(id),
            ..condition(state, shared)
        };
        state
            .failback
            .resize_with(table.failbacks().len(), Default::default);
        for (lane, config) in table.failbacks().iter().enumerate() {
            let failback = &mut state.failback[lane];
            let before = *failback;
            let cause = failback.advance(is, config, now);
            let stage = failback.stage();
            changed |= before.stage() != stage || before.is_on_trial() != failback.is_on_trial();
            // What fell is told as the region's health; routes' own ways follow the table's.
            if lane == 0
                && let Some(cause) = cause
                && stage != Stage::Down
            {
                transitions.push(Transition::Failback {
                    region: Arc::clone(&region.name),
                    stage,
                    cause,
                });
            }
        }
    }
    let lanes = 0..table.failbacks().len();
    let limited = |lane| {
        let limited = members(snapshot, |region| region.share(lane) < 100);
        limited.and(snapshot.serving)
    };
    let limited: Vec<_> = lanes.clone().map(limited).collect();
    let trial = |lane: usize| {
        members(snapshot, |region| {
            let failback = region.failback.get(lane);
            failback.is_some_and(|failback| failback.is_on_trial())
        })
    };
    snapshot.trial = lanes.map(trial).collect();
    snapshot.limited = limited;
    changed
}

/// Takes in that the operator agrees to a region's return.
pub(super) fn confirm(snapshot: &mut Snapshot, region: RegionId, now: Timestamp) -> Option<String> {
    let table = Arc::clone(&snapshot.table);
    let state = snapshot.regions.get_mut(region.index())?;
    for (failback, config) in state.failback.iter_mut().zip(table.failbacks()) {
        failback.confirm(config, now);
    }
    Some("the operator agrees that it returns".to_owned())
}

/// Brings the ways back into the order of a new table: each goes on from the old one that was
/// written alike, or else from the old table's own.
pub(super) fn follow_lanes(regions: &mut [RegionState], old: &RoutingTable, new: &RoutingTable) {
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

fn is_well(region: &RegionState) -> bool {
    region.health != Health::Unhealthy && !region.endpoints.is_empty()
}

/// Whether no region is well and all of them fell at about the same time: more likely than that
/// they all broke is that we, or our network, did.
fn shares_fate(regions: &[RegionState]) -> bool {
    let known = || regions.iter().filter(|region| !region.endpoints.is_empty());
    let first = known().filter_map(|region| region.fell).min();
    let last = known().filter_map(|region| region.fell).max();
    known().all(|region| region.fell.is_some())
        && first
            .zip(last)
            .is_some_and(|(first, last)| last.since(first) <= SHARED_FATE)
}

fn condition(region: &RegionState, shared: bool) -> Condition {
    let mut endpoints = region.endpoints.iter();
    Condition {
        well: is_well(region),
        proven: region.health == Health::Healthy,
        by_traffic: endpoints
            .any(|endpoint| endpoint.standing.condemned_by() == Some(Condemner::Traffic)),
        shared: shared && region.fell.is_some(),
        worse: false,
        forced: region.admin == AdminState::Forced,
    }
}

fn members(snapshot: &Snapshot, belongs: impl Fn(&RegionState) -> bool) -> RegionSet {
    let regions = snapshot.regions.iter().enumerate();
    regions
        .filter(|(_, region)| belongs(region))
        .map(|(index, _)| RegionId::at(index))
        .collect()
}
