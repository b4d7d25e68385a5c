//! Which regions may take a request, best first.

use crate::decide::request::RequestFacts;
use crate::decide::score;
use crate::decide::snapshot::Snapshot;
use crate::health::rise_fall::Health;
use crate::model::country::Country;
use crate::model::id::{MAX_REGIONS, RegionId, RegionSet};
use crate::table::policy::Policy;
use crate::table::residency::PermittedSet;
use crate::table::route::Route;

/// Names of regions in order, without allocation; all from one [`PermittedSet`], which is asked again
/// when something is to leave for one of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    regions: [RegionId; MAX_REGIONS],
    len: u8,
    serving: u8,
    /// Those that serve, and those that are well and on their way back.
    well: u8,
}

impl Ranked {
    /// An empty ranking.
    fn new() -> Self {
        Self {
            regions: [RegionId(0); MAX_REGIONS],
            len: 0,
            serving: 0,
            well: 0,
        }
    }

    /// Adds a region that can serve, after those already there.
    fn push(&mut self, region: RegionId) {
        if let Some(place) = self.regions.get_mut(usize::from(self.len)) {
            *place = region;
            self.len += 1;
            self.serving = self.len;
            self.well = self.len;
        }
    }

    /// Adds a region that is out of service but permitted: tried when nothing else is left.
    fn push_last_resort(&mut self, region: RegionId, is_well: bool) {
        let (serving, well) = (self.serving, self.well);
        self.push(region);
        self.serving = serving;
        if !is_well {
            self.well = well;
        }
    }

    /// Moves a region behind all others, if it is there.
    pub(super) fn put_last(&mut self, region: RegionId) {
        let all = &mut self.regions[..usize::from(self.len)];
        let Some(position) = all.iter().position(|one| *one == region) else {
            return;
        };
        all[position..].rotate_left(1);
        if position < usize::from(self.serving) {
            self.serving -= 1;
        }
        if position < usize::from(self.well) {
            self.well -= 1;
        }
    }

    /// All regions, best first.
    #[must_use]
    pub fn all(&self) -> &[RegionId] {
        &self.regions[..usize::from(self.len)]
    }

    /// The regions that can serve, best first.
    #[must_use]
    pub fn serving(&self) -> &[RegionId] {
        &self.regions[..usize::from(self.serving)]
    }

    /// The same, and after them those that are well and on their way back: a request that another
    /// region leaves waiting goes there rather than nowhere.
    #[must_use]
    pub fn well(&self) -> &[RegionId] {
        &self.regions[..usize::from(self.well)]
    }
}

impl Default for Ranked {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Ranked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all()).finish()
    }
}

/// Why the first region of a decision is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// The route's preference for the viewer's country; index into `route.prefer`.
    Preference(u16),
    /// The lowest latency.
    Latency,
    /// The order written.
    Failover,
    /// The nearest.
    Geo,
    /// The viewer's share.
    Weighted,
    /// All regions fell together, so none is out; the order is as if all were well.
    CorrelatedFailure,
    /// No permitted region can serve: the least bad one is tried.
    FailOpen,
}

impl Rule {
    /// All rules, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Preference(0),
        Self::Latency,
        Self::Failover,
        Self::Geo,
        Self::Weighted,
        Self::CorrelatedFailure,
        Self::FailOpen,
    ];

    /// Its place in [`Rule::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Preference(_) => 0,
            Self::Latency => 1,
            Self::Failover => 2,
            Self::Geo => 3,
            Self::Weighted => 4,
            Self::CorrelatedFailure => 5,
            Self::FailOpen => 6,
        }
    }

    /// The rule as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Preference(_) => "preference",
            Self::Latency => "latency",
            Self::Failover => "failover",
            Self::Geo => "geo",
            Self::Weighted => "weighted",
            Self::CorrelatedFailure => "correlated_failure",
            Self::FailOpen => "fail_open",
        }
    }
}

/// The regions that are allowed, put in order one after the other; each counts once.
pub(super) struct Ranking<'a> {
    snapshot: &'a Snapshot,
    ranked: Ranked,
    /// Those that are out of service, in the same ranking.
    out: Ranked,
    rest: PermittedSet,
    /// Those that no filter leaves out.
    serving: RegionSet,
}

impl<'a> Ranking<'a> {
    /// Nothing in order yet. Those of `allowed` that are not `serving` come last.
    pub(super) fn of(snapshot: &'a Snapshot, allowed: PermittedSet, serving: RegionSet) -> Self {
        Self {
            snapshot,
            ranked: Ranked::new(),
            out: Ranked::new(),
            rest: allowed,
            serving,
        }
    }

    /// Puts `region` next, if it is allowed and not in the order yet.
    fn take(&mut self, region: RegionId) {
        if self.rest.take(region) {
            if self.serving.contains(region) {
                self.ranked.push(region);
            } else {
                self.out.push(region);
            }
        }
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
                    let is_well = tier == Some(Health::Healthy);
                    self.ranked.push_last_resort(*region, is_well);
                }
            }
        }
        self.ranked
    }
}

/// All of `allowed`, and why the first is first: preference for the country, then the policy,
/// then what neither knows by latency and at last by name.
pub(super) fn rank(
    mut ranking: Ranking<'_>,
    route: &Route,
    facts: &RequestFacts<'_>,
    country: Option<Country>,
) -> (Ranked, Rule) {
    let snapshot = ranking.snapshot;
    let mut preferred = None;
    if let Some((line, preference)) = route.preferred(country) {
        preference.regions.iter().for_each(|r| ranking.take(*r));
        let leads = !ranking.ranked.serving().is_empty();
        preferred = leads.then_some(Rule::Preference(line));
    }
    let rule = match &route.policy {
        Policy::Latency => Rule::Latency,
        Policy::Failover => {
            route.order.iter().for_each(|r| ranking.take(*r));
            Rule::Failover
        }
        Policy::Geo => {
            match (facts.viewer.place, country) {
                (Some(place), _) => {
                    score::by_distance(&snapshot.table, place, ranking.rest.regions())
                        .best_first(|region| ranking.take(region))
                }
                (None, Some(country)) => {
                    let nearest = snapshot.table.nearest_to(country);
                    nearest.iter().for_each(|r| ranking.take(*r));
                }
                (None, None) => {}
            }
            Rule::Geo
        }
        Policy::Weighted(weights) => {
            let rest = ranking.rest.regions();
            score::by_weight(&snapshot.table, weights, facts.drawn(), rest)
                .best_first(|region| ranking.take(region));
            Rule::Weighted
        }
    };
    if !ranking.rest.is_empty() {
        snapshot.by_latency.iter().for_each(|r| ranking.take(*r));
        let unranked = ranking.rest.regions();
        unranked.iter().for_each(|region| ranking.take(region));
    }
    let ranked = ranking.ranked();
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
