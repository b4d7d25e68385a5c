//! What leaves regions out of the choice for one request: a list, asked in order.
//!
//! A further reason, such as lag, capacity or an operator's override, is one more line of
//! [`Filters::of`].

use crate::decide::request::RequestFacts;
use crate::decide::score;
use crate::decide::snapshot::Snapshot;
use crate::health::failback::{Failback, Stage};
use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::table::RoutingTable;
use crate::table::residency::PermittedSet;

/// Each filter, and the regions that it leaves out and no filter before it does.
pub(super) struct Filters([(RegionSet, Filter); 5]);

/// A reason to leave regions out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// The route does not name them.
    Route,
    /// The viewer's country forbids them.
    Residency,
    /// The operator drained them.
    Drain,
    /// They are unhealthy, or have no address.
    Health,
    /// They are well again, and not for this viewer yet.
    Failback,
}

// Inlined where `decide` asks, the list is folded into the few operations on sets that it stands for.
impl Filters {
    /// What leaves regions out for the request on `route`, where residency allows `permitted`.
    #[inline(always)]
    pub(super) fn of(
        snapshot: &Snapshot,
        route: RouteId,
        permitted: PermittedSet,
        facts: &RequestFacts<'_>,
    ) -> Self {
        let all = RegionSet::first(snapshot.table.regions.len());
        let named = snapshot.table.route(route).regions;
        let permitted = permitted.regions();
        let drained = permitted.and(snapshot.drained);
        let down = permitted.without(snapshot.serving).without(drained);
        let not_back = not_back_for(snapshot, route, permitted, facts);
        Self([
            (all.without(named), Filter::Route),
            (named.without(permitted), Filter::Residency),
            (drained, Filter::Drain),
            (down, Filter::Health),
            (not_back, Filter::Failback),
        ])
    }

    /// Those of `permitted` that may be tried, if need be as a last resort.
    #[inline(always)]
    pub(super) fn allowed(&self, permitted: PermittedSet) -> PermittedSet {
        let for_good = self.0.iter().filter(|(_, by)| !by.leaves_last_resort());
        for_good.fold(permitted, |left, (out, _)| left.without(*out))
    }

    /// Those of `permitted` that can serve: no filter leaves them out.
    #[inline(always)]
    pub(super) fn serving(&self, permitted: PermittedSet) -> RegionSet {
        let left = |left: RegionSet, (out, _): &(RegionSet, Filter)| left.without(*out);
        self.0.iter().fold(permitted.regions(), left)
    }

    /// Each region that is left out, and why, for a viewer from `country` on `route`.
    pub(super) fn exclusions(
        &self,
        snapshot: &Snapshot,
        route: RouteId,
        country: Option<Country>,
    ) -> impl Iterator<Item = (RegionId, Exclusion)> {
        self.0.iter().flat_map(move |(out, by)| {
            out.iter()
                .map(move |region| (region, by.why(snapshot, route, country, region)))
        })
    }
}

impl Filter {
    /// Whether what it leaves out is tried when nothing better is left.
    #[inline(always)]
    fn leaves_last_resort(self) -> bool {
        match self {
            Self::Route | Self::Residency | Self::Drain => false,
            Self::Health | Self::Failback => true,
        }
    }

    /// Why it leaves `region` out.
    fn why(
        self,
        snapshot: &Snapshot,
        route: RouteId,
        country: Option<Country>,
        region: RegionId,
    ) -> Exclusion {
        let state = snapshot.regions.get(region.index());
        match self {
            Self::Route => Exclusion::NotInRoute,
            Self::Residency => {
                let line = snapshot.table.route(route).forbidden_by(country, region);
                Exclusion::Residency(line.unwrap_or(u16::MAX))
            }
            Self::Drain => Exclusion::Drained,
            Self::Health if state.is_none_or(|state| state.endpoints.is_empty()) => {
                Exclusion::NoEndpoint
            }
            Self::Health => Exclusion::Unhealthy,
            Self::Failback => {
                let policy = snapshot.table.failback_of(route);
                let failback = state.and_then(|state| state.failback.get(policy.index()));
                match failback.map(Failback::stage).unwrap_or_default() {
                    Stage::Ramping { share } => Exclusion::Ramping(share),
                    Stage::AwaitingConfirm => Exclusion::AwaitingConfirm,
                    Stage::Full | Stage::Down | Stage::HoldDown => Exclusion::HoldDown,
                }
            }
        }
    }
}

/// Why each region is left out where a viewer from no known country is refused.
pub(super) fn refused(
    table: &RoutingTable,
    route: RouteId,
) -> impl Iterator<Item = (RegionId, Exclusion)> {
    let named = table.route(route).regions;
    let all = RegionSet::first(table.regions.len());
    all.iter().map(move |region| {
        let named = named.contains(region);
        let why = if named {
            Exclusion::UnknownViewer
        } else {
            Exclusion::NotInRoute
        };
        (region, why)
    })
}

/// The permitted regions that serve but do not take this viewer yet. While all that serve are
/// returning, the one that has been well the longest takes who is left over: it has the
/// traffic already, and moving that to another one would be a return that nobody waited for.
fn not_back_for(
    snapshot: &Snapshot,
    route: RouteId,
    permitted: RegionSet,
    facts: &RequestFacts<'_>,
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
    let drawn = facts.drawn();
    let takes = |region: RegionId| {
        let share = snapshot.regions[region.index()].share(policy);
        score::percentile(&snapshot.table, region, drawn) < share
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

/// Why a region of the table is not among those that can serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusion {
    /// The route does not name it.
    NotInRoute,
    /// A residency line of the route leaves it out; index into `route.residency`.
    Residency(u16),
    /// The operator drained it.
    Drained,
    /// Probes or traffic found it unhealthy.
    Unhealthy,
    /// It has no address to dial.
    NoEndpoint,
    /// No request may go there for a viewer whose country is unknown.
    UnknownViewer,
    /// It was out, is well again, and has to stay so for a while.
    HoldDown,
    /// It was out, and gets this percentage of the viewers: not this one.
    Ramping(u8),
    /// It was out, is well again, and an operator has to agree.
    AwaitingConfirm,
}
