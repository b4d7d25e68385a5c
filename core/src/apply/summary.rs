//! What follows from the endpoints: each region's health and latency, who serves, the order.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::{Transition, ejection, failback};
use crate::decide::snapshot::{AdminState, RegionLatency, RegionState, Snapshot};
use crate::health::latency::MAX_AGE;
use crate::health::state::Health;
use crate::model::time::Timestamp;

/// Brings everything that follows from endpoints and the operator's words up to date, and
/// says whether it changed. `cause` is the event in words, absent when only time passed.
pub(super) fn refresh(
    old: &Snapshot,
    new: &mut Snapshot,
    cause: Option<&str>,
    now: Timestamp,
    transitions: &mut Vec<Transition>,
) -> bool {
    for region in &mut new.regions {
        region.health = best_health(region);
    }
    ejection::settle(new, now, transitions);
    for (index, region) in new.regions.iter_mut().enumerate() {
        let excess = new.excess.get(index).copied().unwrap_or_default();
        region.latency = latency(region, excess, now);
    }
    new.serving = new.regions_that(serves);
    new.probation = new.regions_that(has_probation);
    new.drained = new.regions_that(|region| region.admin == AdminState::Drained);
    let returned = failback::advance(new, now, transitions);
    let medians = new.regions.iter().map(median).collect::<Vec<_>>();
    new.order.update(&medians, now);
    new.by_latency = new.order.regions();

    region_transitions(old, new, cause, transitions);
    transitions.extend(leader_transition(old, new, cause));
    old.by_latency != new.by_latency
        || old.serving != new.serving
        || old.drained != new.drained
        || old.probation != new.probation
        || old.correlated_failure != new.correlated_failure
        || returned
        || old.regions.iter().map(median).ne(medians)
}

/// The best of its endpoints'; without any, nothing is known.
fn best_health(region: &RegionState) -> Health {
    let health = region.endpoints.iter().map(|endpoint| endpoint.health);
    health.min().unwrap_or_default()
}

/// The lowest median of the endpoints that may serve.
///
/// When DNS replaces all addresses at once none of the new ones is measured yet. The region did
/// not move, so its figure stands until it is too old; else every such answer would send the
/// traffic to another region and back.
fn latency(region: &RegionState, excess: Duration, now: Timestamp) -> Option<RegionLatency> {
    let measured = region.estimate(now).map(|estimate| RegionLatency {
        median: estimate.median + excess,
        measured: now - estimate.age,
    });
    let unhealthy = region.health == Health::Unhealthy;
    let may_serve = !region.endpoints.is_empty() && (!unhealthy || !region.out);
    // One that keeps its traffic though its probes fail keeps its place, too.
    let held = region
        .latency
        .filter(|held| may_serve && (unhealthy || now.since(held.measured) <= MAX_AGE));
    measured.or(held)
}

fn median(region: &RegionState) -> Option<Duration> {
    region.latency.map(|latency| latency.median)
}

fn serves(region: &RegionState) -> bool {
    let willing = match region.admin {
        AdminState::Drained => false,
        AdminState::Forced => true,
        AdminState::Auto => !region.out,
    };
    willing && !region.endpoints.is_empty()
}

fn has_probation(region: &RegionState) -> bool {
    let mut endpoints = region.endpoints.iter();
    region.admin == AdminState::Auto && endpoints.any(|one| one.standing.is_on_probation())
}

/// Flips of regions that were in the old table too.
fn region_transitions(
    old: &Snapshot,
    new: &Snapshot,
    cause: Option<&str>,
    transitions: &mut Vec<Transition>,
) {
    for (region, state) in new.table.regions.iter().zip(&new.regions) {
        let before = old
            .table
            .region_named(&region.name)
            .and_then(|id| old.regions.get(id.index()));
        if let Some(before) = before
            && before.health != state.health
        {
            transitions.push(Transition::Region {
                region: Arc::clone(&region.name),
                from: before.health,
                to: state.health,
                cause: cause.unwrap_or("time passed").to_owned(),
            });
        }
    }
}

fn leader_transition(old: &Snapshot, new: &Snapshot, cause: Option<&str>) -> Option<Transition> {
    let before = leader(old)?;
    let after = leader(new)?;
    if before.0 == after.0 {
        return None;
    }
    let figure = |latency: Option<Duration>| {
        latency.map_or_else(|| "unknown".to_owned(), |latency| format!("{latency:.1?}"))
    };
    let present = new.table.region_named(before.0);
    let present = present.and_then(|id| new.regions.get(id.index()));
    Some(Transition::Leader {
        region: Arc::clone(after.0),
        before: Arc::clone(before.0),
        cause: format!(
            "its first byte takes {}, that of {} {}; after: {}",
            figure(median(after.1)),
            before.0,
            figure(present.and_then(median)),
            cause.unwrap_or("time passed"),
        ),
    })
}

fn leader(snapshot: &Snapshot) -> Option<(&Arc<str>, &RegionState)> {
    let first = *snapshot.by_latency.first()?;
    let region = snapshot.table.regions.get(first.index())?;
    Some((&region.name, snapshot.regions.get(first.index())?))
}
