//! All we believe at one moment: what events are folded into.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::region_state::RegionState;
use crate::decide::snapshot::{AdminState, RegionSnapshot, Snapshot};
use crate::health::availability::Availability;
use crate::health::live_comparison::LiveComparison;
use crate::health::order::LatencyOrder;
use crate::health::slots::Slots;
use crate::health::traffic::Traffic;
use crate::model::id::{RegionId, RegionSet};
use crate::model::time::Timestamp;
use crate::model::viewer::UnknownViewer;
use crate::table::RoutingTable;
use crate::table::failback::FailbackId;

/// For so long after all regions fell together requests prove nothing: connections come back one by
/// one, and whose comes first says nothing of the others.
const CORRELATED_FAILURE_LINGERS: Duration = Duration::from_secs(5);

/// What the one writer folds events into. What decisions read of it is made by [`Beliefs::snapshot`].
///
/// The default is what is believed before the first table: nothing.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
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
    /// Whether all regions fell together: more likely than that all of them broke is that we, or
    /// our network, did, so none is out.
    pub correlated_failure: bool,
    /// When all regions last fell together, or still were down because of that.
    pub fell_together: Option<Timestamp>,
    /// When a region was last taken out because of its probes alone.
    pub last_ejection: Option<Timestamp>,
    /// The regions by latency, and who has been better than whom since when.
    pub order: LatencyOrder,
    /// What live requests saw in the last seconds.
    pub traffic: Arc<Traffic>,
    /// By region: what live requests say of the latency that its probes promise.
    pub live: Vec<LiveComparison>,
    /// When live requests of a region last came far later than usual: a probe that is late too is
    /// no noise then.
    pub slowed: Option<Timestamp>,
    /// Regions that live requests find clearly worse than their siblings: a ramp stands still.
    pub worse: RegionSet,
    /// Numbers for new endpoints.
    pub slots: Slots,
}

impl Beliefs {
    /// What decisions read of them.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let serving = self.serving();
        let regions: Vec<_> = self.regions.iter().map(region_snapshot).collect();
        let limited = |policy| {
            let returns = |id: &RegionId| regions[id.index()].share(policy) < 100;
            serving.iter().filter(returns).collect()
        };
        let policies = (0..self.table.failbacks().len()).map(FailbackId::at);
        Snapshot {
            revision: self.revision,
            generation: self.generation,
            table: Arc::clone(&self.table),
            unknown: self.unknown,
            serving,
            drained: self.drained(),
            limited: policies.map(limited).collect(),
            regions,
            suppressed: self.suppressed(),
            probation: self.probation(),
            correlated_failure: self.correlated_failure,
            by_latency: self.order.regions().collect(),
        }
    }

    /// Regions that can serve: not drained, an endpoint, not out.
    #[must_use]
    pub fn serving(&self) -> RegionSet {
        self.regions_that(RegionState::serves)
    }

    /// Regions the operator took out.
    pub(super) fn drained(&self) -> RegionSet {
        self.regions_that(|region| region.admin == AdminState::Drained)
    }

    /// Regions with an endpoint on probation.
    pub(super) fn probation(&self) -> RegionSet {
        self.regions_that(RegionState::is_on_probation)
    }

    /// Unhealthy regions that keep their traffic, not because all fell together.
    fn suppressed(&self) -> RegionSet {
        self.regions_that(|region| {
            let is = matches!(region.availability, Availability::Suppressed { .. });
            is && !self.correlated_failure
        })
    }

    fn regions_that(&self, holds: impl Fn(&RegionState) -> bool) -> RegionSet {
        let regions = self.regions.iter().enumerate();
        regions
            .filter(|(_, region)| holds(region))
            .map(|(index, _)| RegionId::at(index))
            .collect()
    }

    /// Whether all regions are down together, or were a moment ago.
    #[must_use]
    pub fn correlated_failure_lately(&self, now: Timestamp) -> bool {
        self.fell_together
            .is_some_and(|last| now.since(last) < CORRELATED_FAILURE_LINGERS)
    }
}

fn region_snapshot(region: &RegionState) -> RegionSnapshot {
    RegionSnapshot {
        admin: region.admin,
        health: region.health,
        endpoints: Arc::clone(&region.endpoints),
        latency: region.latency.map(|latency| latency.median),
        failback: region.failback.clone(),
    }
}
