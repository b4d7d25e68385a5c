//! What outlives the process: beliefs by name and address, so that they fit another table.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::RegionState;
use crate::decide::snapshot::AdminState;
use crate::health::failback::saved::SavedFailback;
use crate::health::latency::saved::SavedLatency;
use crate::health::rise_fall::saved::SavedHealth;
use crate::model::time::Timestamp;
use crate::table::RoutingTable;
use crate::table::origin::Region;

/// The form that is written. A later one that cannot be read as this one counts up.
pub const FORMAT: u32 = 2;

/// Beliefs worth keeping, as they were at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedBeliefs {
    /// Which form this is.
    pub format: u32,
    /// When, since 1970-01-01 UTC: the one clock that two processes share.
    pub written_unix_ms: u64,
    /// The generation of the table, for people.
    pub generation: u64,
    #[serde(default)]
    pub(super) correlated_failure: bool,
    /// Since all regions were last down together.
    #[serde(default)]
    pub(super) fell_together_ms: Option<u64>,
    /// Since probes alone last took a region out.
    #[serde(default)]
    pub(super) last_ejection_ms: Option<u64>,
    /// Regions with a known latency, the first by it first.
    #[serde(default)]
    pub(super) order: Vec<String>,
    pub(super) regions: Vec<SavedRegion>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedRegion {
    pub(super) name: String,
    #[serde(default)]
    pub(super) admin: AdminState,
    #[serde(default)]
    pub(super) out: bool,
    /// For how long it has not been well.
    #[serde(default)]
    pub(super) down_since_ms: Option<u64>,
    /// The latency it is ordered by, which may be that of addresses it no longer has.
    #[serde(default)]
    pub(super) latency: Option<SavedFigure>,
    #[serde(default)]
    pub(super) failback: Vec<SavedFailback>,
    #[serde(default)]
    pub(super) endpoints: Vec<SavedEndpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedFigure {
    pub(super) median_us: u64,
    pub(super) age_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEndpoint {
    /// The URL of its origin.
    pub(super) origin: String,
    pub(super) address: SocketAddr,
    #[serde(flatten)]
    pub(super) health: SavedHealth,
    #[serde(default, skip_serializing_if = "SavedLatency::is_empty")]
    pub(super) latency: SavedLatency,
}

impl SavedBeliefs {
    /// What of `beliefs` is worth keeping at `now`, which is `unix` on the wall's clock.
    #[must_use]
    pub fn of(beliefs: &Beliefs, now: Timestamp, unix: Duration) -> Self {
        let table = &beliefs.table;
        let order = beliefs.order.regions().filter_map(|id| {
            beliefs.regions.get(id.index())?.latency?;
            Some(table.regions.get(id.index())?.name.to_string())
        });
        let regions = table.regions.iter().zip(&beliefs.regions);
        let keep = |(region, state)| SavedRegion::of(region, state, table, now);
        Self {
            format: FORMAT,
            written_unix_ms: millis(unix),
            generation: beliefs.generation,
            correlated_failure: beliefs.correlated_failure,
            fell_together_ms: beliefs.fell_together.map(|at| millis(now.since(at))),
            last_ejection_ms: beliefs.last_ejection.map(|at| millis(now.since(at))),
            order: order.collect(),
            regions: regions.map(keep).collect(),
        }
    }

    /// How old it is at `unix` on the wall's clock; zero where that clock was set back.
    #[must_use]
    pub fn age(&self, unix: Duration) -> Duration {
        unix.saturating_sub(Duration::from_millis(self.written_unix_ms))
    }

    /// The names of the regions that were out.
    #[must_use]
    pub fn out(&self) -> Vec<&str> {
        let out = self.regions.iter().filter(|region| region.out);
        out.map(|region| region.name.as_str()).collect()
    }

    /// Whether a process that starts from `other` would do the same at first: figures that move
    /// all the time, such as ages and samples, are left out.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.generation == other.generation
            && self.correlated_failure == other.correlated_failure
            && self.order == other.order
            && self.regions.len() == other.regions.len()
            && std::iter::zip(&self.regions, &other.regions).all(|(one, two)| one.like(two))
    }
}

impl SavedRegion {
    fn of(region: &Region, state: &RegionState, table: &RoutingTable, now: Timestamp) -> Self {
        let failbacks = state.failback.iter().zip(table.failbacks());
        let endpoints = state.endpoints.iter().filter_map(|endpoint| {
            let origin = region.origins.get(usize::from(endpoint.origin))?;
            Some(SavedEndpoint {
                origin: origin.url(),
                address: endpoint.address,
                health: endpoint.standing.save(),
                latency: endpoint.latency.save(now),
            })
        });
        Self {
            name: region.name.to_string(),
            admin: state.admin,
            out: state.availability.is_out(),
            down_since_ms: state
                .availability
                .down_since()
                .map(|at| millis(now.since(at))),
            latency: state.latency.map(|latency| SavedFigure {
                median_us: u64::try_from(latency.median.as_micros()).unwrap_or(u64::MAX),
                age_ms: millis(now.since(latency.measured)),
            }),
            failback: failbacks
                .map(|(failback, config)| failback.save(config, now))
                .collect(),
            endpoints: endpoints.collect(),
        }
    }

    fn like(&self, other: &Self) -> bool {
        let stages = |region: &Self| -> Vec<_> {
            let failbacks = region.failback.iter();
            failbacks.map(SavedFailback::stage).collect()
        };
        let pairs = std::iter::zip(&self.endpoints, &other.endpoints);
        let alike = |(one, two): (&SavedEndpoint, &SavedEndpoint)| {
            one.address == two.address && one.origin == two.origin && one.health == two.health
        };
        self.name == other.name
            && self.admin == other.admin
            && self.out == other.out
            && stages(self) == stages(other)
            && self.endpoints.len() == other.endpoints.len()
            && { pairs }.all(alike)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
