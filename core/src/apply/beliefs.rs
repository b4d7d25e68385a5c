//! All we believe at one moment: what events are folded into.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::snapshot::{AdminState, RegionState, Snapshot};
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
        let policies = (0..self.table.failbacks().len()).map(FailbackId::at);
        let limited = |policy| {
            let limited = self.regions_that(|region| region.share(policy) < 100);
            limited.and(serving)
        };
        Snapshot {
            revision: self.revision,
            generation: self.generation,
            table: Arc::clone(&self.table),
            unknown: self.unknown,
            regions: self.regions.clone(),
            serving,
            drained: self.drained(),
            limited: policies.map(limited).collect(),
            probation: self.probation(),
            correlated_failure: self.correlated_failure,
            by_latency: self.order.regions().collect(),
        }
    }

    /// Regions that can serve: not drained, an endpoint, not out.
    pub(super) fn serving(&self) -> RegionSet {
        self.regions_that(serves)
    }

    /// Regions the operator took out.
    pub(super) fn drained(&self) -> RegionSet {
        self.regions_that(|region| region.admin == AdminState::Drained)
    }

    /// Regions with an endpoint on probation.
    pub(super) fn probation(&self) -> RegionSet {
        self.regions_that(has_probation)
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

fn serves(region: &RegionState) -> bool {
    let willing = match region.admin {
        AdminState::Drained => false,
        AdminState::Forced => true,
        AdminState::Auto => !region.availability.is_out(),
    };
    willing && !region.endpoints.is_empty()
}

fn has_probation(region: &RegionState) -> bool {
    let mut endpoints = region.endpoints.iter();
    region.admin == AdminState::Auto && endpoints.any(|one| one.standing.is_on_probation())
}
