//! What follows from the endpoints: each region's health and latency, who serves, the order.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::{RegionLatency, RegionState};
use crate::apply::{failback, region_ejection};
use crate::change::{ChangeCause, Changes, What};
use crate::decide::snapshot::best_estimate;
use crate::health::availability::Availability;
use crate::health::failback::Stage;
use crate::health::latency::MAX_AGE;
use crate::health::live_comparison::LiveComparison;
use crate::health::rise_fall::Health;
use crate::model::time::Timestamp;

/// Brings everything that follows from endpoints and the operator's words up to date, and
/// says whether it changed. `cause` is the event in words.
pub(super) fn refresh(
    old: &Beliefs,
    new: &mut Beliefs,
    cause: &ChangeCause,
    changes: &mut Changes,
) -> bool {
    let now = changes.now;
    for region in &mut new.regions {
        region.health = best_health(region);
    }
    tell_regions(old, new, cause, changes);
    region_ejection::settle(new, changes);
    for (index, region) in new.regions.iter_mut().enumerate() {
        let live = new.live.get(index).copied().unwrap_or_default();
        region.latency = latency(region, live, now);
    }
    let returned = failback::advance(new, changes);
    for region in &mut new.regions {
        let has_all = region.failback.iter().all(|one| one.stage() == Stage::Full);
        if has_all && region.availability == Availability::Up {
            region.latency_before = region.latency;
        }
    }
    let medians = new.regions.iter().map(median).collect::<Vec<_>>();
    new.order.update(&medians, now);
    old.order.regions().ne(new.order.regions())
        || old.serving() != new.serving()
        || old.drained() != new.drained()
        || old.probation() != new.probation()
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
fn latency(region: &RegionState, live: LiveComparison, now: Timestamp) -> Option<RegionLatency> {
    let measured = best_estimate(&region.endpoints, now).map(|estimate| RegionLatency {
        median: live.corrected(estimate.median),
        measured: now - estimate.age,
    });
    let unhealthy = region.health == Health::Unhealthy;
    let may_serve = !region.endpoints.is_empty() && !region.availability.is_out();
    // One that keeps its traffic though its probes fail keeps its place, too.
    let held = region
        .latency
        .filter(|held| may_serve && (unhealthy || now.since(held.measured) <= MAX_AGE));
    measured.or(held)
}

fn median(region: &RegionState) -> Option<Duration> {
    region.latency.map(|latency| latency.median)
}

/// Flips of regions that were in the old table too.
fn tell_regions(old: &Beliefs, new: &Beliefs, cause: &ChangeCause, changes: &mut Changes) {
    for (region, state) in new.table.regions.iter().zip(&new.regions) {
        let before = old
            .table
            .region_named(&region.name)
            .and_then(|id| old.regions.get(id.index()));
        if let Some(before) = before
            && before.health != state.health
        {
            let (from, to) = (before.health, state.health);
            changes.tell_region(&region.name, What::Health { from, to }, cause.clone());
        }
    }
}

/// Tells that another region is the first by latency now.
pub(super) fn tell_leader(
    old: &Beliefs,
    new: &Beliefs,
    cause: &ChangeCause,
    changes: &mut Changes,
) {
    let (Some(before), Some(after)) = (leader(old), leader(new)) else {
        return;
    };
    if before.0 == after.0 {
        return;
    }
    let present = new.table.region_named(before.0);
    let present = present.and_then(|id| new.regions.get(id.index()));
    let faster = ChangeCause::Faster {
        median: median(after.1),
        than: Arc::clone(before.0),
        other: present.and_then(median),
        after: Box::new(cause.clone()),
    };
    let before = Arc::clone(before.0);
    changes.tell_region(after.0, What::Leader { before }, faster);
}

fn leader(beliefs: &Beliefs) -> Option<(&Arc<str>, &RegionState)> {
    let first = beliefs.order.regions().next()?;
    let region = beliefs.table.regions.get(first.index())?;
    Some((&region.name, beliefs.regions.get(first.index())?))
}
