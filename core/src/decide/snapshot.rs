//! What a decision reads of the beliefs of one moment: what a request loads once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::health::failback::Failback;
use crate::health::latency::{Estimate, LatencyEstimate};
use crate::health::rise_fall::{Health, HealthState};
use crate::model::id::{EndpointId, RegionId, RegionSet};
use crate::model::outcome::ProbeOutcome;
use crate::model::time::Timestamp;
use crate::model::viewer::UnknownViewer;
use crate::table::RoutingTable;
use crate::table::failback::FailbackId;

pub use crate::model::admin::AdminState;

/// Table, health and latency at one revision; never changes.
///
/// The default is what is believed before the first table: nothing.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts every published change.
    pub revision: u64,
    /// Counts reloads, from 1.
    pub generation: u64,
    /// Regions and routes.
    pub table: Arc<RoutingTable>,
    /// What to do when no source knows the viewer's country.
    pub unknown: UnknownViewer,
    /// Each region; indexed by [`RegionId`].
    pub regions: Vec<RegionSnapshot>,
    /// Regions that can serve: not drained, an endpoint that is not unhealthy.
    pub serving: RegionSet,
    /// Regions the operator took out: never used, not even as the last resort.
    pub drained: RegionSet,
    /// By failback policy (see [`RoutingTable::failbacks`]): serving regions that return, which
    /// get only a part of the viewers, or none yet.
    pub limited: Vec<RegionSet>,
    /// Regions that get copies of a few safe requests, to find out whether they serve them: those
    /// with an endpoint on probation.
    pub probation: RegionSet,
    /// Unhealthy regions that keep their traffic: their ejection is suppressed.
    pub suppressed: RegionSet,
    /// Whether all regions fell together: more likely than that all of them broke is that we, or
    /// our network, did, so none is out.
    pub correlated_failure: bool,
    /// All regions, lowest latency first, as the switch margin lets it change.
    pub by_latency: Vec<RegionId>,
}

impl Snapshot {
    /// The endpoint with this number and its region, while it is known.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<(RegionId, &EndpointState)> {
        self.regions.iter().enumerate().find_map(|(index, region)| {
            let endpoint = region.endpoints.iter().find(|endpoint| endpoint.id == id)?;
            Some((RegionId::at(index), endpoint))
        })
    }
}

/// What a decision reads of one region.
#[derive(Clone, Debug, Default)]
pub struct RegionSnapshot {
    /// The operator's word.
    pub admin: AdminState,
    /// Its health as a whole: the best of its endpoints'.
    pub health: Health,
    /// Addresses that can be dialled, unhealthy ones included, sorted by address.
    pub endpoints: Arc<[EndpointState]>,
    /// The latency it is ordered by; `None` while unknown or unhealthy.
    pub latency: Option<Duration>,
    /// How far its return is; by failback policy, as in [`RoutingTable::failbacks`].
    pub failback: Vec<Failback>,
}

impl RegionSnapshot {
    /// Percent of the viewers that it may get on routes with this failback policy.
    #[must_use]
    pub fn share(&self, policy: FailbackId) -> u8 {
        let failback = self.failback.get(policy.index());
        failback.map_or(100, |failback| failback.stage().share())
    }
}

/// The best estimate at `now` among those of `endpoints` that are not unhealthy.
#[must_use]
pub fn best_estimate(endpoints: &[EndpointState], now: Timestamp) -> Option<Estimate> {
    endpoints
        .iter()
        .filter(|endpoint| endpoint.health != Health::Unhealthy)
        .filter_map(|endpoint| endpoint.latency.estimate(now))
        .min_by_key(|estimate| estimate.median)
}

/// What we believe of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointState {
    /// Its number, stable while it is known.
    pub id: EndpointId,
    /// Where to dial.
    pub address: SocketAddr,
    /// Which of the region's origins it belongs to.
    pub origin: u16,
    /// What probes and traffic say.
    pub health: Health,
    /// How firmly `health` stands, and who ejected it.
    pub standing: HealthState,
    /// How long it takes to answer.
    pub latency: LatencyEstimate,
    /// The newest probe, and when it ended.
    pub probed: Option<(Timestamp, ProbeOutcome)>,
}

impl EndpointState {
    /// An endpoint of which only the address is known.
    #[must_use]
    pub fn new(id: EndpointId, address: SocketAddr, origin: u16) -> Self {
        Self {
            id,
            address,
            origin,
            health: Health::default(),
            standing: HealthState::default(),
            latency: LatencyEstimate::default(),
            probed: None,
        }
    }
}
