//! What the operator wrote, checked and compiled: regions, routes and how to find a route.
//!
//! A [`RoutingTable`] never changes; a reload makes a new one.

pub mod failback;
pub mod index;
pub mod origin;
pub mod path;
pub mod policy;
pub mod residency;
pub mod route;
pub mod traffic_policy;
mod written;

pub use crate::table::written::Written;

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::country::Country;
use crate::model::id::{RegionId, RouteId};
use crate::table::failback::{FailbackConfig, FailbackId};
use crate::table::index::RouteIndex;
use crate::table::origin::Region;
use crate::table::route::Route;
use crate::table::traffic_policy::TrafficPolicy;

/// All regions and routes, checked: every name resolves, every set is within the table.
#[derive(Debug, Default)]
pub struct RoutingTable {
    /// The configuration's files, the main one first.
    pub files: Vec<String>,
    /// Regions in order of their names; a [`RegionId`] is a position here.
    pub regions: Vec<Region>,
    /// Routes in the order of the file; a [`RouteId`] is a position here.
    pub routes: Vec<Route>,
    /// Finds a route by host and path.
    pub index: RouteIndex,
    /// How live requests are judged.
    pub traffic: TrafficPolicy,
    /// By country: the regions whose place is known, the nearest first.
    nearest: Vec<Vec<RegionId>>,
    /// By region: a hash of its name, the same in every table and on every host.
    seeds: Vec<u64>,
    /// The different failback policies: the table's own, then those that routes write.
    failbacks: Vec<FailbackConfig>,
    /// By route: the one it follows.
    failback_of: Vec<FailbackId>,
}

impl RoutingTable {
    /// Compiles checked regions (sorted by name) and routes into a table.
    #[must_use]
    pub fn new(files: Vec<String>, regions: Vec<Region>, routes: Vec<Route>) -> Self {
        let index = RouteIndex::new(&routes);
        let nearest = Country::all()
            .map(|country| nearest_regions(country, &regions))
            .collect();
        let seeds = regions
            .iter()
            .map(|region| xxh3_64(region.name.as_bytes()))
            .collect();
        Self {
            traffic: TrafficPolicy::default(),
            nearest,
            seeds,
            failbacks: vec![FailbackConfig::default()],
            failback_of: vec![FailbackId::TABLE; routes.len()],
            files,
            regions,
            routes,
            index,
        }
    }

    /// The same table, with `all` as the failback policy but on the routes in `own`. Routes
    /// that write the same share it.
    #[must_use]
    pub fn with_failback(
        mut self,
        all: FailbackConfig,
        own: &BTreeMap<RouteId, FailbackConfig>,
    ) -> Self {
        self.failbacks = vec![all];
        for (route, config) in own {
            let known = self.failbacks.iter().position(|one| one == config);
            let position = known.unwrap_or_else(|| {
                self.failbacks.push(*config);
                self.failbacks.len() - 1
            });
            if let Some(place) = self.failback_of.get_mut(route.index()) {
                *place = FailbackId::at(position);
            }
        }
        self
    }

    /// The same table, judging live requests by `traffic`.
    #[must_use]
    pub fn with_traffic_policy(self, traffic: TrafficPolicy) -> Self {
        Self { traffic, ..self }
    }

    /// The different failback policies, the table's own first; never empty in a table that was built.
    #[must_use]
    pub fn failbacks(&self) -> &[FailbackConfig] {
        &self.failbacks
    }

    /// Which of [`failbacks`](Self::failbacks) holds on a route.
    #[must_use]
    pub fn failback_of(&self, route: RouteId) -> FailbackId {
        self.failback_of
            .get(route.index())
            .copied()
            .unwrap_or_default()
    }

    /// The region called `name`, if there is one.
    #[must_use]
    pub fn region_named(&self, name: &str) -> Option<RegionId> {
        let position = self
            .regions
            .binary_search_by(|region| region.name.as_ref().cmp(name));
        position.ok().map(RegionId::at)
    }

    /// The region with this number; numbers come from this table only.
    #[must_use]
    pub fn region(&self, id: RegionId) -> &Region {
        &self.regions[id.index()]
    }

    /// The route with this number; numbers come from this table only.
    #[must_use]
    pub fn route(&self, id: RouteId) -> &Route {
        &self.routes[id.index()]
    }

    /// The route for a request: the most specific host, then the longest path prefix.
    ///
    /// `host` may carry a port and any case; `path` is the path without the query.
    #[must_use]
    pub fn route_for(&self, host: Option<&str>, path: &str) -> Option<RouteId> {
        self.index.find(host, path)
    }

    /// The regions whose place is known, the nearest to where `country`'s people live first.
    #[must_use]
    pub fn nearest_to(&self, country: Country) -> &[RegionId] {
        self.nearest
            .get(country.position())
            .map_or(&[], Vec::as_slice)
    }

    /// A number for the region's name, stable across tables, versions and hosts.
    #[must_use]
    pub fn seed(&self, region: RegionId) -> u64 {
        self.seeds[region.index()]
    }

    /// `file:line` of something written, for people.
    #[must_use]
    pub fn place(&self, written: Written) -> String {
        let file = self
            .files
            .get(usize::from(written.file))
            .map_or("default", String::as_str);
        if written.line == 0 {
            "default".to_owned()
        } else {
            format!("{file}:{}", written.line)
        }
    }
}

fn nearest_regions(country: Country, regions: &[Region]) -> Vec<RegionId> {
    let Some(centre) = country.place() else {
        return Vec::new();
    };
    let mut placed: Vec<(f32, RegionId)> = regions
        .iter()
        .enumerate()
        .filter_map(|(index, region)| Some((centre.nearness(region.place?), RegionId::at(index))))
        .collect();
    placed.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    placed.into_iter().map(|(_, region)| region).collect()
}
