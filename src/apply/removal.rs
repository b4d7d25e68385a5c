//! Which regions are out because of their health, and which keep their traffic all the same.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::Transition;
use crate::decide::snapshot::{RegionState, Snapshot};
use crate::health::failback::Stage;
use crate::health::state::{Condemner, Health};
use crate::model::time::Timestamp;

/// Probes alone may take out one region in so long: what fails them one after the other is more
/// likely on our side. What requests prove is not limited.
const REMOVAL_GAP: Duration = Duration::from_secs(60);

/// Regions that all fall within this time share a fate: two default probe intervals and the
/// probes that confirm, so that probes alone can tell.
const SHARED_FATE: Duration = Duration::from_secs(15);

/// Brings `out`, `fell` and the shared fate up to date with the regions' health.
pub(super) fn settle(snapshot: &mut Snapshot, now: Timestamp, transitions: &mut Vec<Transition>) {
    let table = Arc::clone(&snapshot.table);
    for index in 0..snapshot.regions.len() {
        let verdict = verdict(snapshot, index, now);
        let region = &mut snapshot.regions[index];
        let fell_before = region.fell.is_some();
        let kept = verdict == Verdict::Keep && !fell_before;
        region.fell = match region.health {
            Health::Unhealthy => region.fell.or(Some(now)),
            Health::Healthy | Health::Unproven => None,
        };
        region.out = matches!(verdict, Verdict::Out | Verdict::Remove);
        if verdict == Verdict::Remove {
            snapshot.last_removal = Some(now);
        }
        if let (true, Some(definition)) = (kept, table.regions.get(index)) {
            transitions.push(Transition::Kept {
                region: Arc::clone(&definition.name),
                cause: "no other region is sure to be well, or probes took one out within the \
                        last minute"
                    .to_owned(),
            });
        }
        if let (Verdict::Remove, true, Some(definition)) =
            (verdict, fell_before, table.regions.get(index))
        {
            // It was kept until now, so nothing that is told of its health says that it goes.
            transitions.push(Transition::Failback {
                region: Arc::clone(&definition.name),
                stage: Stage::Down,
                cause: "its probes still fail, and nothing keeps it any more".to_owned(),
            });
        }
    }
    let shared = shares_fate(&snapshot.regions, snapshot.shared_fate);
    if shared != snapshot.shared_fate {
        snapshot.shared_fate = shared;
        transitions.push(Transition::SharedFate { began: shared });
    }
    if shared {
        for region in &mut snapshot.regions {
            region.out = false;
        }
    }
}

/// Whether a region gets traffic, as far as its health is concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is not unhealthy.
    In,
    /// It is out, because of what requests proved or what was decided before.
    Out,
    /// Its probes alone take it out now.
    Remove,
    /// Its probes alone would take it out, which has to wait.
    Keep,
}

fn verdict(snapshot: &Snapshot, index: usize, now: Timestamp) -> Verdict {
    let region = &snapshot.regions[index];
    if region.health != Health::Unhealthy {
        return Verdict::In;
    }
    let by_traffic = |one: &crate::decide::snapshot::EndpointState| {
        one.standing.condemned_by() == Some(Condemner::Traffic)
    };
    // One that never served took nothing out of anyone's way.
    let served = region.failback.iter().any(|way| way.has_served());
    if region.out || !served || region.endpoints.iter().any(by_traffic) {
        return Verdict::Out;
    }
    let recent = |removal: Timestamp| now.since(removal) < REMOVAL_GAP;
    let mut others = snapshot.regions.iter().enumerate();
    let another_is_well = others.any(|(other, state)| other != index && is_surely_well(state));
    if another_is_well && !snapshot.last_removal.is_some_and(recent) {
        Verdict::Remove
    } else {
        Verdict::Keep
    }
}

/// Whether nothing speaks against at least one of its endpoints.
fn is_surely_well(region: &RegionState) -> bool {
    let mut endpoints = region.endpoints.iter();
    endpoints.any(|one| one.health == Health::Healthy && one.standing.streak() == 0)
}

/// Whether no region is well and all of them fell at about the same time. It lasts until one is
/// well again.
fn shares_fate(regions: &[RegionState], lasts: bool) -> bool {
    let known = || regions.iter().filter(|region| !region.endpoints.is_empty());
    let first = known().filter_map(|region| region.fell).min();
    let last = known().filter_map(|region| region.fell).max();
    known().count() > 1
        && known().all(|region| region.fell.is_some())
        && first
            .zip(last)
            .is_some_and(|(first, last)| lasts || last.since(first) <= SHARED_FATE)
}
