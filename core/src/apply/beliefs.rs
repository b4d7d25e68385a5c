//! All we believe at one moment: what events are folded into.

use std::sync::Arc;
use std::time::Duration;

use crate::decide::snapshot::Snapshot;
use crate::health::order::LatencyOrder;
use crate::health::slots::Slots;
use crate::health::traffic::Traffic;
use crate::model::id::RegionSet;
use crate::model::time::Timestamp;

/// For so long after all regions fell together requests prove nothing: connections come back one by
/// one, and whose comes first says nothing of the others.
const CORRELATED_FAILURE_LINGERS: Duration = Duration::from_secs(5);

/// What the one writer folds events into, and what decisions read of it.
///
/// The default is what is believed before the first table: nothing.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    /// What decisions read, up to date after each event.
    pub snapshot: Snapshot,
    /// When all regions last fell together, or still were down because of that.
    pub fell_together: Option<Timestamp>,
    /// When a region was last taken out because of its probes alone.
    pub last_ejection: Option<Timestamp>,
    /// What the snapshot's `by_latency` follows: the order, and who has been better than whom since
    /// when.
    pub order: LatencyOrder,
    /// What live requests saw in the last seconds.
    pub traffic: Arc<Traffic>,
    /// By region: how much later it answers live requests than its probes promise, compared with
    /// its siblings.
    pub excess: Vec<Duration>,
    /// Regions that live requests find clearly worse than their siblings: a ramp stands still.
    pub worse: RegionSet,
    /// Numbers for new endpoints.
    pub slots: Slots,
}

impl Beliefs {
    /// Whether all regions are down together, or were a moment ago.
    #[must_use]
    pub fn correlated_failure_lately(&self, now: Timestamp) -> bool {
        self.fell_together
            .is_some_and(|last| now.since(last) < CORRELATED_FAILURE_LINGERS)
    }
}
