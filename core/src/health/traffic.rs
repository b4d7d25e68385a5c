//! What live requests of all workers saw in the last seconds, by route and region.

use std::collections::BTreeMap;

use crate::health::latency::LatencyEstimate;
use crate::health::traffic_count::TrafficCount;
use crate::model::id::{RegionId, RouteId};
use crate::model::outcome::Phases;
use crate::model::time::Timestamp;

/// How many seconds are looked at together.
const SECONDS: usize = 5;

/// The newest seconds of every route and region that had requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    recent: BTreeMap<(RouteId, RegionId), Recent>,
    /// First bytes of live requests, as estimates of their seconds' means.
    live: BTreeMap<(RouteId, RegionId), LatencyEstimate>,
}

/// A ring of whole seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Recent {
    seconds: [Second; SECONDS],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    /// Which second since the start.
    number: u64,
    count: TrafficCount,
}

impl Traffic {
    /// Counts what one worker saw, and forgets what is older than a few seconds.
    pub fn count(&mut self, key: (RouteId, RegionId), seen: &TrafficCount, now: Timestamp) {
        let number = now.since_start().as_secs();
        let recent = self.recent.entry(key).or_default();
        let second = &mut recent.seconds[(number % SECONDS as u64) as usize];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second.count.add(seen);
        if let Some(first_byte) = seen.mean_first_byte() {
            let phases = Phases {
                first_byte: Some(first_byte),
                ..Phases::default()
            };
            self.live.entry(key).or_default().observe(phases, true, now);
        }
    }

    /// First bytes of live requests by route and region.
    #[must_use]
    pub fn live(&self) -> &BTreeMap<(RouteId, RegionId), LatencyEstimate> {
        &self.live
    }

    /// Forgets pairs without a request in the last seconds.
    pub fn forget_old(&mut self, now: Timestamp) {
        self.recent.retain(|_, recent| recent.sum(now).requests > 0);
        self.live
            .retain(|_, estimate| estimate.estimate(now).is_some());
    }

    /// Forgets everything about a region: what it did before it fell says nothing about after.
    pub fn forget_region(&mut self, region: RegionId) {
        self.recent.retain(|(_, of), _| *of != region);
        self.live.retain(|(_, of), _| *of != region);
    }

    /// Every route and region with requests in the last seconds.
    pub fn sums(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = ((RouteId, RegionId), TrafficCount)> {
        self.recent
            .iter()
            .map(move |(key, recent)| (*key, recent.sum(now)))
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.recent.is_empty() && self.live.is_empty()
    }
}

impl Recent {
    fn sum(&self, now: Timestamp) -> TrafficCount {
        let number = now.since_start().as_secs();
        let mut sum = TrafficCount::default();
        for second in &self.seconds {
            if second.number + SECONDS as u64 > number {
                sum.add(&second.count);
            }
        }
        sum
    }
}
