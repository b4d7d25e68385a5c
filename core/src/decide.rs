//! One request, one decision: which regions, in which order, and why not the others.
//!
//! [`decide`] is a pure function over one immutable [`Snapshot`]; it allocates nothing. The
//! proxy and `explain` call the same one.

pub mod pick_endpoint;
pub mod retry_budget;
pub mod failover;
pub mod draw_key;
mod exclusions;
pub mod explain;
pub mod heavy_hitters;
mod ranking;
pub mod request;
mod score;
pub mod snapshot;

pub use crate::decide::exclusions::Exclusion;
pub use crate::decide::ranking::{Ranked, Rule};

use crate::decide::exclusions::Filters;
use crate::decide::ranking::{Ranking, rank};
use crate::decide::request::RequestFacts;
use crate::decide::snapshot::Snapshot;
use crate::model::id::{RegionId, RouteId};
use crate::table::residency::PermittedSet;

/// The regions for one request, best first. Pure, and allocates nothing.
///
/// # Errors
///
/// [`NoDecision`] if no route matches or no region may serve.
pub fn decide(snapshot: &Snapshot, facts: &RequestFacts<'_>) -> Result<Decision, NoDecision> {
    let table = &*snapshot.table;
    let id = table
        .route_for(facts.host, facts.path)
        .ok_or(NoDecision::NoRoute)?;
    let route = table.route(id);
    let country = facts.viewer.counts_as(snapshot.unknown);
    let permitted = route
        .permitted(country, snapshot.unknown)
        .ok_or(NoDecision::UnknownViewer(id))?;
    let filters = Filters::of(snapshot, id, permitted, facts);
    let allowed = filters.allowed(permitted);
    if allowed.is_empty() {
        return Err(NoDecision::NoRegion(id));
    }
    let ranking = Ranking::of(snapshot, allowed, filters.serving(permitted));
    let (ranked, rule) = rank(ranking, route, facts, country);
    Ok(Decision {
        route: id,
        permitted,
        ranked,
        rule,
    })
}

/// Why each region of the table that cannot serve the request is left out, by the filters that
/// [`decide`] asks; nothing where no route takes it.
#[must_use]
pub fn exclusions(snapshot: &Snapshot, facts: &RequestFacts<'_>) -> Vec<(RegionId, Exclusion)> {
    let table = &*snapshot.table;
    let Some(id) = table.route_for(facts.host, facts.path) else {
        return Vec::new();
    };
    let country = facts.viewer.counts_as(snapshot.unknown);
    match table.route(id).permitted(country, snapshot.unknown) {
        Some(permitted) => Filters::of(snapshot, id, permitted, facts)
            .exclusions(snapshot, id, country)
            .collect(),
        None => exclusions::refused(table, id).collect(),
    }
}

/// Where one request may go, best first. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    route: RouteId,
    permitted: PermittedSet,
    ranked: Ranked,
    rule: Rule,
}

impl Decision {
    /// The route it matched.
    #[must_use]
    pub fn route(&self) -> RouteId {
        self.route
    }

    /// The regions residency allows for this viewer on this route. Nothing leaves for any other.
    #[must_use]
    pub fn permitted(&self) -> PermittedSet {
        self.permitted
    }

    /// The regions to try, best first: those that can serve, then the least bad.
    #[must_use]
    pub fn ranked(&self) -> &Ranked {
        &self.ranked
    }

    /// Why the first is first.
    #[must_use]
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Permits only those regions any longer of which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&RegionId) -> bool) {
        self.permitted.retain(keep);
    }

    /// Moves a region behind all others, if it is there.
    pub fn put_last(&mut self, region: RegionId) {
        self.ranked.put_last(region);
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
