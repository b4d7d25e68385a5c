//! What the writer believes of one region.

use std::sync::Arc;
use std::time::Duration;

use crate::change::ChangeCause;
use crate::decide::snapshot::{AdminState, EndpointState};
use crate::health::availability::Availability;
use crate::health::failback::Failback;
use crate::health::rise_fall::Health;
use crate::model::time::Timestamp;

/// What was usual before a region fell is for so long: after that it is what it is now.
const USUAL_LASTS: Duration = Duration::from_secs(600);

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
    /// How far its return is; by failback policy, as the table has them.
    pub failback: Vec<Failback>,
    /// Whether it is up, and gets traffic.
    pub availability: Availability,
    /// The last change of it.
    pub last_change: Option<LastChange>,
}

impl RegionState {
    /// Whether requests may go there.
    #[must_use]
    pub fn serves(&self) -> bool {
        let willing = match self.admin {
            AdminState::Drained => false,
            AdminState::Forced => true,
            AdminState::Auto => !self.availability.is_out(),
        };
        willing && !self.endpoints.is_empty()
    }

    /// Whether a few requests are to find out whether it serves them.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        let mut endpoints = self.endpoints.iter();
        self.admin == AdminState::Auto && endpoints.any(|one| one.standing.is_on_probation())
    }

    /// How long a first byte usually takes: what it took before the region fell, if that is not long
    /// ago, or else what it takes now.
    #[must_use]
    pub fn usual_latency(&self, now: Timestamp) -> Option<Duration> {
        let before = self.latency_before;
        let before = before.filter(|before| now.since(before.measured) < USUAL_LASTS);
        before.or(self.latency).map(|latency| latency.median)
    }
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

/// A region's latency, and when it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionLatency {
    /// The lowest median among its endpoints that are not unhealthy, and the excess of live
    /// requests.
    pub median: Duration,
    /// When its newest sample came.
    pub measured: Timestamp,
}
