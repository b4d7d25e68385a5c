//! Which regions may take a request, best first.

use crate::decide::request::RequestFacts;
use crate::decide::snapshot::Snapshot;
use crate::decide::{Exclusion, Ranked, Rule};
use crate::health::failback::{Failback, Stage};
use crate::health::state::Health;
use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::model::viewer::Viewer;
use crate::table::failback::FailbackId;
use crate::table::policy::Policy;
use crate::table::route::Route;

use super::score;

/// The regions that are allowed, put in order one after the other; each counts once.
pub(super) struct Order<'a> {
    snapshot: &'a Snapshot,
    ranked: Ranked,
    /// Those that are out of service, in the same order.
    out: Ranked,
    rest: RegionSet,
    /// Those that serve, but not this viewer yet.
    away: RegionSet,
    /// The one that this request is to try, whether it serves or not.
    probation: Option<RegionId>,
}

impl<'a> Order<'a> {
    /// Nothing in order yet. Those of `away` are well, and come after all that serve.
    pub(super) fn of(
        snapshot: &'a Snapshot,
        allowed: RegionSet,
        away: RegionSet,
        probation: Option<RegionId>,
    ) -> Self {
        Self {
            snapshot,
            ranked: Ranked::new(),
            out: Ranked::new(),
            rest: allowed,
            away,
            probation,
        }
    }

    /// Puts `region` next, if it is allowed and not in the order yet.
    pub(super) fn take(&mut self, region: RegionId) {
        if self.rest.contains(region) {
            self.rest.remove(region);
            let serves = self.snapshot.serving.contains(region) && !self.away.contains(region);
            if serves || self.probation == Some(region) {
                self.ranked.push(region);
            } else {
                self.out.push(region);
            }
        }
    }

    /// The allowed regions that are not in the order yet.
    pub(super) fn rest(&self) -> RegionSet {
        self.rest
    }

    /// Those that serve, then those that are out, the least bad first.
    fn ranked(mut self) -> Ranked {
        if self.out.all().is_empty() {
            return self.ranked;
        }
        // Without an address there is nothing to try: such regions come after all others.
        for tier in [
            Some(Health::Healthy),
            Some(Health::Unproven),
            Some(Health::Unhealthy),
            None,
        ] {
            for region in self.out.all() {
                if last_resort_tier(self.snapshot, *region) == tier {
                    self.ranked.push_last_resort(*region);
                }
            }
        }
        self.ranked
    }
}

/// All of `allowed`, and why the first is first: preference for the country, then the policy,
/// then what neither knows by latency and at last by name.
pub(super) fn rank(
    mut order: Order<'_>,
    route: &Route,
    viewer: &Viewer,
    country: Option<Country>,
) -> (Ranked, Rule) {
    let snapshot = order.snapshot;
    let mut preferred = None;
    if let Some(region) = order.probation {
        order.take(region);
        preferred = Some(Rule::Probation);
    }
    if let Some((line, preference)) = route.preferred(country) {
        preference.regions.iter().for_each(|r| order.take(*r));
        let leads = !order.ranked.serving().is_empty();
        preferred = preferred.or_else(|| leads.then_some(Rule::Preference(line)));
    }
    let rule = match &route.policy {
        Policy::Latency => Rule::Latency,
        Policy::Failover => {
            route.order.iter().for_each(|r| order.take(*r));
            Rule::Failover
        }
        Policy::Geo => {
            score::nearest(&snapshot.table, viewer.place, country, &mut order);
            Rule::Geo
        }
        Policy::Weighted(weights) => {
            score::weighted(&snapshot.table, weights, viewer.address, &mut order);
            Rule::Weighted
        }
    };
    if !order.rest.is_empty() {
        snapshot.by_latency.iter().for_each(|r| order.take(*r));
        let unranked = order.rest;
        unranked.iter().for_each(|region| order.take(region));
    }
    let ranked = order.ranked();
    if ranked.serving().is_empty() {
        return (ranked, Rule::FailOpen);
    }
    if snapshot.correlated_failure {
        return (ranked, Rule::CorrelatedFailure);
    }
    (ranked, preferred.unwrap_or(rule))
}

fn last_resort_tier(snapshot: &Snapshot, region: RegionId) -> Option<Health> {
    let state = snapshot.regions.get(region.index())?;
    (!state.endpoints.is_empty()).then_some(state.health)
}

/// The permitted regions that serve but do not take this viewer yet. While all that serve are on
/// their way back, the one that has been well the longest takes who is left over: it has the
/// traffic already, and moving that to another one would be a return that nobody waited for.
pub(super) fn not_back_for(
    snapshot: &Snapshot,
    route: RouteId,
    permitted: RegionSet,
    viewer: &Viewer,
) -> RegionSet {
    let policy = snapshot.table.failback_of(route);
    let limited = snapshot
        .limited
        .get(policy.index())
        .copied()
        .unwrap_or_default();
    let serving = permitted.and(snapshot.serving);
    let limited = limited.and(serving);
    if limited.is_empty() {
        return RegionSet::EMPTY;
    }
    let takes = |region: RegionId| {
        let share = snapshot.regions[region.index()].share(policy);
        score::percentile(&snapshot.table, region, viewer.address) < share
    };
    let away: RegionSet = limited.iter().filter(|region| !takes(*region)).collect();
    if !serving.without(away).is_empty() {
        return away;
    }
    let well_since = |region: &RegionId| {
        let failback = snapshot.regions[region.index()]
            .failback
            .get(policy.index());
        failback.map(Failback::well_since)
    };
    let mut others = away;
    if let Some(longest) = away.iter().min_by_key(well_since) {
        others.remove(longest);
    }
    others
}

/// The region that this request is to try, if it may: one that does not serve and has an endpoint
/// on probation, while another one stands by.
pub(super) fn for_probation(
    snapshot: &Snapshot,
    route: &Route,
    permitted: RegionSet,
    facts: &RequestFacts<'_>,
) -> Option<RegionId> {
    // Whoever may not ask another region after a failure must not be spent on it.
    let stands_by = !permitted.and(snapshot.serving).is_empty() && route.retry.attempts > 1;
    let probation = permitted.and(snapshot.probation).without(snapshot.serving);
    probation
        .iter()
        .next()
        .filter(|_| facts.probation && stands_by)
}

/// Why `region`, which serves, does not take this viewer yet.
pub(super) fn why_away(snapshot: &Snapshot, policy: FailbackId, region: RegionId) -> Exclusion {
    let failback = snapshot.regions[region.index()]
        .failback
        .get(policy.index());
    match failback.map(Failback::stage).unwrap_or_default() {
        Stage::Ramping { share, .. } => Exclusion::Ramping(share),
        Stage::AwaitingConfirm => Exclusion::AwaitingConfirm,
        Stage::Full | Stage::Down | Stage::HoldDown { .. } => Exclusion::HoldDown,
    }
}

/// Why `region`, which is permitted, cannot serve.
pub(super) fn why_out(snapshot: &Snapshot, region: RegionId) -> Exclusion {
    if snapshot.drained.contains(region) {
        Exclusion::Drained
    } else if last_resort_tier(snapshot, region).is_none() {
        Exclusion::NoEndpoint
    } else {
        Exclusion::Unhealthy
    }
}
