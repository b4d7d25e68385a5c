//! Which regions may take a request, best first.

use crate::decide::snapshot::Snapshot;
use crate::decide::{Exclusion, Ranked, Rule};
use crate::health::state::Health;
use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet};
use crate::model::viewer::Viewer;
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
}

impl<'a> Order<'a> {
    fn of(snapshot: &'a Snapshot, allowed: RegionSet) -> Self {
        Self {
            snapshot,
            ranked: Ranked::new(),
            out: Ranked::new(),
            rest: allowed,
        }
    }

    /// Puts `region` next, if it is allowed and not in the order yet.
    pub(super) fn take(&mut self, region: RegionId) {
        if self.rest.contains(region) {
            self.rest.remove(region);
            if self.snapshot.serving.contains(region) {
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
    snapshot: &Snapshot,
    route: &Route,
    viewer: &Viewer,
    country: Option<Country>,
    allowed: RegionSet,
) -> (Ranked, Rule) {
    let mut order = Order::of(snapshot, allowed);
    let mut preferred = None;
    if let Some((line, preference)) = route.preferred(country) {
        preference.regions.iter().for_each(|r| order.take(*r));
        preferred = (!order.ranked.serving().is_empty()).then_some(Rule::Preference(line));
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
    (ranked, preferred.unwrap_or(rule))
}

fn last_resort_tier(snapshot: &Snapshot, region: RegionId) -> Option<Health> {
    let state = snapshot.regions.get(region.index())?;
    (!state.endpoints.is_empty()).then_some(state.health)
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
