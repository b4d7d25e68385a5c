//! What live requests prove: failure rates and lateness, compared with sibling regions.

use std::sync::Arc;

use crate::apply::beliefs::Beliefs;
use crate::apply::endpoint_health::{self, locate, settle};
use crate::apply::event::{LateAnswers, WindowCount};
use crate::apply::region_ejection::{ask_the_others, passed_since};
use crate::apply::region_state::RegionState;
use crate::apply::worse::worse;
use crate::change::{ChangeCause, Changes, Comparison};
use crate::decide::snapshot::{AdminState, EndpointState, best_estimate};
use crate::health::availability::Availability;
use crate::health::live_comparison::compare;
use crate::health::rise_fall::Health;
use crate::health::traffic_count::TrafficCount;
use crate::model::id::{EndpointId, RegionId, RegionSet, RouteId};
use crate::model::time::Timestamp;

/// What answers still, if late, may be short of capacity: hedges take a part of its requests off it
/// meanwhile, which may be all it needs. It is given so many times as long as what is silent.
const STILL_ANSWERING: u32 = 5;

/// Takes in that an endpoint's answers come late. Lateness ejects only what lasts, where a probe of
/// another region finds that one as fast as ever: if all are slow, the fault is ours, or shared. It
/// never takes out the last region that a route has, since a slow answer is better than none; and a
/// region whose only endpoint answers still, late as it is, is given five times as long.
pub(super) fn late(
    beliefs: &mut Beliefs,
    id: EndpointId,
    lates: LateAnswers,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let now = changes.now;
    let (region, place) = locate(beliefs, id)?;
    let endpoints = &beliefs.regions[region.index()].endpoints;
    let spare = |(at, one): (usize, &_)| at != place && is_well(one);
    let has_spare = endpoints.iter().enumerate().any(spare);
    let policy = &beliefs.table.traffic.outlier_detection;
    let needed = match lates.compared {
        true => policy.consecutive_late,
        false => policy.consecutive_late_uncompared,
    };
    let is_lasting = !lates.answered || lates.lasted >= policy.late_for * STILL_ANSWERING;
    let could_go = has_spare || (others_serve(beliefs, region) && is_lasting);
    let is_enough = lates.in_a_row >= needed && lates.lasted >= policy.late_for;
    if !is_enough || !could_go || beliefs.correlated_failure_lately(now) {
        return None;
    }
    let suspected = endpoints[place].standing.suspected();
    if !another_is_as_fast_as_ever(beliefs, region, suspected) {
        // One probe that was slow by chance must not save it.
        return endpoint_health::suspected(beliefs, id, now);
    }
    let in_a_row = lates.in_a_row;
    let cause = ChangeCause::RequestsLate { in_a_row };
    eject(
        beliefs,
        region,
        |one| one.id == id,
        &cause,
        in_a_row,
        changes,
    );
    beliefs.worse = worse(beliefs, now);
    Some(cause)
}

/// Whether another region passed a probe since this one was suspected, in its usual time: if none
/// did, the fault may be on our side, or in what all of them depend on.
fn another_is_as_fast_as_ever(
    beliefs: &Beliefs,
    region: RegionId,
    since: Option<Timestamp>,
) -> bool {
    let mut others = beliefs.regions.iter().enumerate();
    since.is_some_and(|since| {
        others.any(|(other, state)| {
            let mut endpoints = state.endpoints.iter();
            let is_fast = |one: &_| passed_since(one, since) && one.latency.is_usual();
            other != region.index() && endpoints.any(is_fast)
        })
    })
}

/// Takes in what one worker saw in a second.
pub(super) fn window(
    beliefs: &mut Beliefs,
    counts: &[WindowCount],
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let now = changes.now;
    let traffic = Arc::make_mut(&mut beliefs.traffic);
    for count in counts {
        let key = (count.route, count.region);
        traffic.count(key, &count.count, count.first_byte, now);
    }
    traffic.forget_old(now);
    if !traffic.slowed().is_empty() {
        // Whether it is the region, what all depend on, or who asks for what: probes tell.
        beliefs.slowed = Some(now);
        ask_the_others(beliefs, now);
    }
    compare_live(beliefs, now);
    let mut cause = None;
    let mut judged = RegionSet::EMPTY;
    while let Some((region, sum, comparison)) = failing(beliefs, counts, judged, now) {
        let failures = comparison.count;
        let why = ChangeCause::Compared(comparison);
        let is_confined = sum.endpoints.are_confined(sum.bad());
        let is_ill = |one: &EndpointState| !is_confined || sum.endpoints.is_ill(one.id);
        eject(beliefs, region, is_ill, &why, failures, changes);
        Arc::make_mut(&mut beliefs.traffic).forget_region(region);
        judged.insert(region);
        cause = Some(why);
    }
    let worse = worse(beliefs, now);
    let before = std::mem::replace(&mut beliefs.worse, worse);
    if before != worse && cause.is_none() {
        cause = Some(ChangeCause::ComparedAnew);
    }
    cause
}

/// Takes in that time passed: live requests of a while ago say nothing any more.
pub(super) fn grow_old(beliefs: &mut Beliefs, now: Timestamp) {
    if !beliefs.traffic.is_empty() {
        Arc::make_mut(&mut beliefs.traffic).forget_old(now);
        compare_live(beliefs, now);
    }
}

/// Brings what live requests say of the regions' latency up to date.
fn compare_live(beliefs: &mut Beliefs, now: Timestamp) {
    let probed = |region: &RegionState| {
        best_estimate(&region.endpoints, now).map(|estimate| estimate.median)
    };
    let probed: Vec<_> = beliefs.regions.iter().map(probed).collect();
    beliefs.live = compare(beliefs.traffic.live(now), &probed);
}

/// A region, but none of those `judged`, that serves a route far worse than a sibling: if all fail
/// alike, the fault is not the region's.
fn failing(
    beliefs: &Beliefs,
    counts: &[WindowCount],
    judged: RegionSet,
    now: Timestamp,
) -> Option<(RegionId, TrafficCount, Comparison)> {
    if beliefs.correlated_failure_lately(now) {
        return None;
    }
    let policy = &beliefs.table.traffic.outlier_detection;
    // What one worker saw just now alone may say enough: the good seconds before a fault would
    // hide it for as long in the sums.
    let recent: Vec<_> = beliefs.traffic.sums(now).collect();
    let newest = counts.iter().map(|count| {
        let key = (count.route, count.region);
        let known = recent.iter().find(|(known, _)| *known == key);
        let sum = count.count;
        // Who asks most is alone in what is told within milliseconds.
        (key, known.map_or(sum, |(_, known)| sum.among(known)))
    });
    let sums: Vec<_> = newest.chain(recent.iter().copied()).collect();
    let sum_of = |key: (RouteId, RegionId)| {
        let mut known = sums.iter().filter(|(known, _)| *known == key);
        known.next().map(|(_, sum)| *sum)
    };
    let trouble = |key: (RouteId, RegionId)| {
        let mut known = sums.iter().filter(|(known, _)| *known == key);
        known.find_map(|(_, sum)| sum.trouble(policy))
    };
    sums.iter().find_map(|((route, region), sum)| {
        let trouble_found = sum.trouble(policy)?;
        let definition = beliefs.table.routes.get(route.index())?;
        let mut siblings = definition.regions.and(beliefs.serving()).iter();
        let better = |other: &RegionId| {
            *other != *region
                && beliefs.regions[other.index()].health != Health::Unhealthy
                && trouble((*route, *other)).is_none()
        };
        let state = beliefs.regions.get(region.index())?;
        let may_go = state.health != Health::Unhealthy && state.admin != AdminState::Forced;
        if !may_go || judged.contains(*region) || is_known(state, sum) {
            return None;
        }
        let sibling = siblings.find(better)?;
        let other = sum_of((*route, sibling)).unwrap_or_default();
        let comparison = Comparison {
            trouble: trouble_found,
            count: sum.behind(trouble_found),
            requests: sum.requests,
            route: Arc::clone(&definition.name),
            sibling: Arc::clone(&beliefs.table.region(sibling).name),
            sibling_count: other.behind(trouble_found),
            sibling_requests: other.requests,
        };
        Some((*region, *sum, comparison))
    })
}

/// Whether another region serves a route that names `region`. Routes that have it alone use it all
/// the same, as their last resort.
fn others_serve(beliefs: &Beliefs, region: RegionId) -> bool {
    let mut alone = RegionSet::EMPTY;
    alone.insert(region);
    let mut routes = beliefs.table.routes.iter();
    routes.any(|route| {
        let others = route.regions.and(beliefs.serving()).without(alone);
        route.regions.contains(region) && !others.is_empty()
    })
}

/// Whether all that failed is out already: only its last answers still come in.
fn is_known(region: &RegionState, sum: &TrafficCount) -> bool {
    let is_ill = |one: &&EndpointState| sum.endpoints.is_ill(one.id);
    let mut ill = region.endpoints.iter().filter(is_ill).peekable();
    ill.peek().is_some() && !ill.any(is_well)
}

fn is_well(endpoint: &EndpointState) -> bool {
    endpoint.health != Health::Unhealthy
}

/// Ejects those endpoints of a region that are ill.
fn eject(
    beliefs: &mut Beliefs,
    region: RegionId,
    is_ill: impl Fn(&EndpointState) -> bool,
    cause: &ChangeCause,
    in_a_row: u32,
    changes: &mut Changes,
) {
    let name = Arc::clone(&beliefs.table.region(region).name);
    let state = &mut beliefs.regions[region.index()];
    if state.admin == AdminState::Forced {
        return;
    }
    let mut endpoints = state.endpoints.to_vec();
    for endpoint in endpoints.iter_mut().filter(|one| is_ill(one)) {
        let flip = endpoint.standing.traffic_failed(in_a_row);
        settle(endpoint, flip, &name, cause, changes);
    }
    state.health = endpoints
        .iter()
        .map(|endpoint| endpoint.health)
        .min()
        .unwrap_or_default();
    state.endpoints = endpoints.into();
    if state.health == Health::Unhealthy {
        let since = state.availability.down_since().unwrap_or(changes.now);
        state.availability = Availability::Out { since };
    }
}
