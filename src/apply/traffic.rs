//! What live requests prove: failure rates and lateness, compared with sibling regions.

use crate::apply::evidence::{locate, settle};
use crate::apply::{Transition, WindowCount};
use crate::decide::snapshot::{AdminState, Snapshot};
use crate::health::state::Health;
use crate::health::traffic::Sum;
use crate::model::id::{EndpointId, RegionId, RegionSet};
use crate::model::time::Timestamp;

/// So many late answers in a row condemn an endpoint.
const LATE_IN_A_ROW: u32 = 5;

/// Takes in that an endpoint's answers come late. Lateness alone never takes out the last region
/// that a route has: a slow answer is better than none, and if all are slow the fault is ours.
pub(super) fn late(
    snapshot: &mut Snapshot,
    id: EndpointId,
    in_a_row: u32,
    now: Timestamp,
    transitions: &mut Vec<Transition>,
) -> Option<String> {
    let (region, place) = locate(snapshot, id)?;
    if in_a_row < LATE_IN_A_ROW || !others_serve(snapshot, region) {
        return None;
    }
    let cause = format!("{in_a_row} in a row: the answer came far later than usual");
    condemn(snapshot, region, Some(place), &cause, in_a_row, transitions);
    snapshot.worse = worse(snapshot, now);
    Some(cause)
}

/// Takes in what one worker saw in a second.
pub(super) fn window(
    snapshot: &mut Snapshot,
    counts: &[WindowCount],
    now: Timestamp,
    transitions: &mut Vec<Transition>,
) -> Option<String> {
    for count in counts {
        let seen = Sum {
            requests: count.requests,
            failures: count.failures,
            first_byte: count.first_byte,
        };
        snapshot
            .traffic
            .count((count.route, count.region), seen, now);
    }
    snapshot.traffic.forget_old(now);
    tell_trials(snapshot, counts, now);
    let mut cause = None;
    while let Some((region, sum)) = failing(snapshot, now) {
        let text = format!(
            "{} of {} requests failed in the last seconds",
            sum.failures, sum.requests
        );
        condemn(snapshot, region, None, &text, sum.failures, transitions);
        snapshot.traffic.forget_region(region);
        cause = Some(text);
    }
    let worse = worse(snapshot, now);
    let before = std::mem::replace(&mut snapshot.worse, worse);
    if before != worse && cause.is_none() {
        cause = Some("requests compare the regions anew".to_owned());
    }
    cause
}

/// Trials of regions on their way back go by the same counts.
fn tell_trials(snapshot: &mut Snapshot, counts: &[WindowCount], now: Timestamp) {
    let table = std::sync::Arc::clone(&snapshot.table);
    for count in counts {
        let Some(state) = snapshot.regions.get_mut(count.region.index()) else {
            continue;
        };
        let good = count.requests.saturating_sub(count.failures);
        for (failback, config) in state.failback.iter_mut().zip(table.failbacks()) {
            failback.answered(good, count.failures > 0, config, now);
        }
    }
}

/// A region where at least half of the requests of a route fail, while a sibling on the same
/// route serves and does not: if all fail alike, the fault is not the region's.
fn failing(snapshot: &Snapshot, now: Timestamp) -> Option<(RegionId, Sum)> {
    let sums: Vec<_> = snapshot.traffic.sums(now).collect();
    let found = sums.iter().find(|((route, region), sum)| {
        let alike = |other: &RegionId| {
            sums.iter()
                .any(|(key, sum)| *key == (*route, *other) && sum.fails())
        };
        let siblings = snapshot.table.routes.get(route.index());
        let siblings = siblings.map(|route| route.regions.and(snapshot.serving));
        let well = |region: &RegionId| {
            snapshot
                .regions
                .get(region.index())
                .is_some_and(|state| state.health != Health::Unhealthy)
        };
        sum.fails()
            && well(region)
            && siblings.is_some_and(|siblings| {
                siblings
                    .iter()
                    .any(|other| other != *region && well(&other) && !alike(&other))
            })
    });
    found.map(|((_, region), sum)| (*region, *sum))
}

/// Regions on their way back that do worse than a sibling on the same route.
fn worse(snapshot: &Snapshot, now: Timestamp) -> RegionSet {
    let ramping = |region: RegionId| {
        let state = snapshot.regions.get(region.index());
        state.is_some_and(|state| {
            let mut ways = state.failback.iter();
            ways.any(|way| (1..100).contains(&way.stage().share()))
        })
    };
    let usual = |region: RegionId| {
        let state = snapshot.regions.get(region.index())?;
        Some(state.latency?.median)
    };
    let sums: Vec<_> = snapshot.traffic.sums(now).collect();
    let worse = sums.iter().filter(|((route, region), sum)| {
        ramping(*region)
            && sums.iter().any(|((other_route, other), sibling)| {
                other_route == route
                    && other != region
                    && !ramping(*other)
                    && sum.worse_than(sibling, usual(*region))
            })
    });
    worse.map(|((_, region), _)| *region).collect()
}

/// Whether, on every route that names `region`, another one serves.
fn others_serve(snapshot: &Snapshot, region: RegionId) -> bool {
    let mut routes = snapshot.table.routes.iter();
    let mut alone = RegionSet::EMPTY;
    alone.insert(region);
    let others = |set: RegionSet| !set.and(snapshot.serving).without(alone).is_empty();
    routes.all(|route| !route.regions.contains(region) || others(route.regions))
        && others(snapshot.serving)
}

/// Condemns one endpoint of a region, or all that are well.
fn condemn(
    snapshot: &mut Snapshot,
    region: RegionId,
    place: Option<usize>,
    cause: &str,
    in_a_row: u32,
    transitions: &mut Vec<Transition>,
) {
    let name = std::sync::Arc::clone(&snapshot.table.region(region).name);
    let state = &mut snapshot.regions[region.index()];
    if state.admin == AdminState::Forced {
        return;
    }
    let mut endpoints = state.endpoints.to_vec();
    for (at, endpoint) in endpoints.iter_mut().enumerate() {
        if place.is_none_or(|place| place == at) {
            let flip = endpoint.standing.traffic_failed(in_a_row);
            settle(endpoint, flip, &name, cause, transitions);
        }
    }
    state.health = endpoints
        .iter()
        .map(|endpoint| endpoint.health)
        .min()
        .unwrap_or_default();
    state.endpoints = endpoints.into();
    if state.health == Health::Unhealthy {
        snapshot.serving.remove(region);
    }
}
