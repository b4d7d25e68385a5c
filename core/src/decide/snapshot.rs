//! What a decision reads of the beliefs of one moment: what a request loads once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::change::ChangeCause;
use crate::health::availability::Availability;
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

/// What was usual before a region fell is for so long: after that it is what it is now.
const USUAL_LASTS: Duration = Duration::from_secs(600);

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
    /// What we believe of each region; indexed by [`RegionId`].
    pub regions: Vec<RegionState>,
    /// Regions that can serve: not drained, an endpoint that is not unhealthy.
    pub serving: RegionSet,
    /// Regions the operator took out: never used, not even as the last resort.
    pub drained: RegionSet,
    /// By failback policy (see [`RoutingTable::failbacks`]): serving regions that return, which
    /// get only a part of the viewers, or none yet.
    pub limited: Vec<RegionSet>,
    /// Regions that get a few safe requests, to find out whether they serve them: those with an
    /// endpoint on probation.
    pub probation: RegionSet,
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

/// What we believe of one region. The default: nothing yet, and no address.
#[derive(Clone, Debug, Default)]
pub struct RegionState {
    /// The operator's word.
    pub admin: AdminState,
    /// Its health as a whole: the best of its endpoints'.
    pub health: Health,
    /// Addresses that can be dialled, unhealthy ones included, sorted by address.
    pub endpoints: Arc<[EndpointState]>,
    /// The latency it is ordered by; `None` while unknown or unhealthy.
    pub latency: Option<RegionLatency>,
    /// The one it had when it last had all its traffic.
    pub latency_before: Option<RegionLatency>,
    /// How far its return is; by failback policy, as in [`RoutingTable::failbacks`].
    pub failback: Vec<Failback>,
    /// Whether it is up, and gets traffic.
    pub availability: Availability,
    /// The last change of it.
    pub last_change: Option<LastChange>,
}

/// When and why a region's health, its stage or the operator's word on it last changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastChange {
    /// When.
    pub at: Timestamp,
    /// Why: what changed first comes first.
    pub causes: Arc<[ChangeCause]>,
}

impl LastChange {
    /// Why, for people.
    #[must_use]
    pub fn cause(&self) -> String {
        let causes = self.causes.iter().map(ToString::to_string);
        causes.collect::<Vec<_>>().join("; ")
    }
}

impl RegionState {
    /// Percent of the viewers that it may get on routes with this failback policy.
    #[must_use]
    pub fn share(&self, policy: FailbackId) -> u8 {
        let failback = self.failback.get(policy.index());
        failback.map_or(100, |failback| failback.stage().share())
    }

    /// How long a first byte usually takes: what it took before the region fell, if that is not long
    /// ago, or else what it takes now.
    #[must_use]
    pub fn usual_latency(&self, now: Timestamp) -> Option<Duration> {
        let before = self.latency_before;
        let before = before.filter(|before| now.since(before.measured) < USUAL_LASTS);
        before.or(self.latency).map(|latency| latency.median)
    }

    /// The best estimate at `now` among its endpoints that are not unhealthy.
    #[must_use]
    pub fn estimate(&self, now: Timestamp) -> Option<Estimate> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.health != Health::Unhealthy)
            .filter_map(|endpoint| endpoint.latency.estimate(now))
            .min_by_key(|estimate| estimate.median)
    }
}

/// A region's latency, and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLatency {
    /// The lowest median among its endpoints that are not unhealthy, and the excess of live
    /// requests.
    pub median: Duration,
    /// When its newest sample came.
    pub measured: Timestamp,
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
