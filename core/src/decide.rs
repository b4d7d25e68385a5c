//! One request, one decision: which regions, in which order, and why not the others.
//!
//! [`decide`] is a pure function over one immutable [`Snapshot`]; it allocates nothing. The
//! proxy and `explain` call the same one.

pub mod endpoint;
pub mod budget;
pub mod failover;
mod candidates;
pub mod explain;
pub mod request;
mod score;
pub mod snapshot;

use crate::decide::candidates::Order;
use crate::decide::request::RequestFacts;
use crate::decide::snapshot::Snapshot;
use crate::model::country::Country;
use crate::model::id::{MAX_REGIONS, RegionId, RegionSet, RouteId};
use crate::model::viewer::UnknownViewer;

/// The regions for one request, best first. Pure, and allocates nothing.
///
/// # Errors
///
/// [`NoDecision`] if no route matches or no region may serve.
pub fn decide(snapshot: &Snapshot, facts: &RequestFacts<'_>) -> Result<Decision, NoDecision> {
    decide_with(snapshot, facts, &mut Nothing)
}

/// [`decide`], telling `collector` why each region was left out.
///
/// # Errors
///
/// As [`decide`].
pub fn decide_with(
    snapshot: &Snapshot,
    facts: &RequestFacts<'_>,
    collector: &mut impl Collector,
) -> Result<Decision, NoDecision> {
    let table = &*snapshot.table;
    let id = table
        .route_for(facts.host, facts.path)
        .ok_or(NoDecision::NoRoute)?;
    let route = table.route(id);
    let country = match (facts.viewer.country, snapshot.unknown) {
        (Some(country), _) | (None, UnknownViewer::Country(country)) => Some(country),
        (None, UnknownViewer::Any | UnknownViewer::Refuse) => None,
    };
    collector.matched(id, country);
    let all = RegionSet::first(table.regions.len());
    collector.left_out(all.without(route.regions), |_| Exclusion::NotInRoute);
    let refused = country.is_none() && snapshot.unknown == UnknownViewer::Refuse;
    if refused && !route.residency.is_empty() {
        collector.left_out(route.regions, |_| Exclusion::UnknownViewer);
        return Err(NoDecision::UnknownViewer(id));
    }
    let permitted = route.permitted(country);
    collector.left_out(route.regions.without(permitted), |region| {
        Exclusion::Residency(route.forbidden_by(country, region).unwrap_or(u16::MAX))
    });
    collector.left_out(permitted.without(snapshot.serving), |region| {
        candidates::why_out(snapshot, region)
    });
    let away = candidates::not_back_for(snapshot, id, permitted, facts.viewer);
    collector.left_out(away, |region| {
        candidates::why_away(snapshot, table.failback_of(id), region)
    });
    let allowed = permitted.without(snapshot.drained);
    if allowed.is_empty() {
        return Err(NoDecision::NoRegion(id));
    }
    let probation = candidates::for_probation(snapshot, route, allowed, facts);
    let (ranked, rule) = {
        let order = Order::of(snapshot, allowed, away, probation);
        candidates::rank(order, route, facts.viewer, country)
    };
    Ok(Decision {
        route: id,
        permitted,
        ranked,
        rule,
    })
}

/// Hears why a decision came out as it did.
pub trait Collector {
    /// The request matched `route`, and the viewer counts as from `country`.
    fn matched(&mut self, route: RouteId, country: Option<Country>);
    /// `regions` cannot serve, each for the reason `why` gives.
    fn left_out(&mut self, regions: RegionSet, why: impl Fn(RegionId) -> Exclusion);
}

/// Keeps nothing: for requests.
struct Nothing;

impl Collector for Nothing {
    fn matched(&mut self, _route: RouteId, _country: Option<Country>) {}
    fn left_out(&mut self, _regions: RegionSet, _why: impl Fn(RegionId) -> Exclusion) {}
}

/// Keeps every reason: for `explain`.
#[derive(Clone, Debug, Default)]
pub struct Reasons {
    /// The route and the country the viewer counts as from, if a route matched.
    pub matched: Option<(RouteId, Option<Country>)>,
    /// Each region that cannot serve, and why.
    pub excluded: Vec<(RegionId, Exclusion)>,
}

impl Collector for Reasons {
    fn matched(&mut self, route: RouteId, country: Option<Country>) {
        self.matched = Some((route, country));
    }

    fn left_out(&mut self, regions: RegionSet, why: impl Fn(RegionId) -> Exclusion) {
        self.excluded.extend(regions.iter().map(|r| (r, why(r))));
    }
}

/// Where one request may go, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The route it matched.
    pub route: RouteId,
    /// The regions residency allows for this viewer on this route. Nothing leaves for any other.
    pub permitted: RegionSet,
    /// The regions to try, best first: those that can serve, then the least bad.
    pub ranked: Ranked,
    /// Why the first is first.
    pub rule: Rule,
}

/// Regions in order, without allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ranked {
    regions: [RegionId; MAX_REGIONS],
    len: u8,
    serving: u8,
}

impl Ranked {
    /// An empty order.
    #[must_use]
    pub fn new() -> Self {
        Self {
            regions: [RegionId(0); MAX_REGIONS],
            len: 0,
            serving: 0,
        }
    }

    /// Adds a region that can serve, after those already there.
    pub fn push(&mut self, region: RegionId) {
        if let Some(place) = self.regions.get_mut(usize::from(self.len)) {
            *place = region;
            self.len += 1;
            self.serving = self.len;
        }
    }

    /// Adds a region that is out of service but permitted: tried when nothing else is left.
    pub fn push_last_resort(&mut self, region: RegionId) {
        let serving = self.serving;
        self.push(region);
        self.serving = serving;
    }

    /// Moves a region behind all others, if it is there.
    pub fn put_last(&mut self, region: RegionId) {
        let all = &mut self.regions[..usize::from(self.len)];
        let Some(position) = all.iter().position(|one| *one == region) else {
            return;
        };
        all[position..].rotate_left(1);
        if position < usize::from(self.serving) {
            self.serving -= 1;
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
    /// It has to prove itself with a few safe requests; the others stand by.
    Probation,
    /// All regions fell together, so none is out; the order is as if all were well.
    CorrelatedFailure,
    /// No permitted region can serve: the least bad one is tried.
    FailOpen,
}

impl Rule {
    /// All rules, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Preference(0),
        Self::Latency,
        Self::Failover,
        Self::Geo,
        Self::Weighted,
        Self::Probation,
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
            Self::Probation => 5,
            Self::CorrelatedFailure => 6,
            Self::FailOpen => 7,
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
            Self::Probation => "probation",
            Self::CorrelatedFailure => "correlated_failure",
            Self::FailOpen => "fail_open",
        }
    }
}

/// Why no region may serve a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDecision {
    /// No route takes this host and path.
    #[error("no route takes this host and path")]
    NoRoute,
    /// The viewer's country is unknown and `viewer.unknown` refuses such on routes with a
    /// residency.
    #[error("the viewer's country is unknown and this route's data is bound to countries")]
    UnknownViewer(RouteId),
    /// Residency leaves no region, or the operator drained all that are left.
    #[error("no region may serve this viewer on this route")]
    NoRegion(RouteId),
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
