//! The regions' ways back, one for every `[failback]` that the table knows.

use std::sync::Arc;

use crate::apply::Transition;
use crate::decide::snapshot::{AdminState, RegionState, Snapshot};
use crate::health::failback::{Condition, Stage};
use crate::health::state::Health;
use crate::model::id::{RegionId, RegionSet};
use crate::model::time::Timestamp;
use crate::table::RoutingTable;

/// Brings every region's way back up to date, and the sets that decisions look at. Says whether
/// anything changed that a reader may see.
pub(super) fn advance(
    snapshot: &mut Snapshot,
    now: Timestamp,
    transitions: &mut Vec<Transition>,
) -> bool {
    let table = Arc::clone(&snapshot.table);
    let shared = snapshot.shared_fate;
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
            changed |= before.stage() != stage;
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
    snapshot.limited = lanes.map(limited).collect();
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

fn condition(region: &RegionState, shared: bool) -> Condition {
    Condition {
        well: !region.out && !region.endpoints.is_empty(),
        proven: region.health == Health::Healthy,
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
