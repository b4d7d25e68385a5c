//! What live requests of all workers saw in the last seconds, by route and region.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::health::breadth::Breadth;
use crate::health::latency::{Estimate, LatencyEstimate};
use crate::health::traffic_count::TrafficCount;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::model::outcome::Phases;
use crate::model::time::Timestamp;

/// How many seconds are looked at together.
const SECONDS: usize = 5;

/// The newest seconds of every route and region that had requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pairs: BTreeMap<(RouteId, RegionId), Recent>,
}

/// One route in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Recent {
    /// A ring of whole seconds.
    seconds: [Second; SECONDS],
    /// Each second's median first byte.
    latency: LatencyEstimate,
    /// How many of them in a row came far later than usual.
    slow: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    /// Which second since the start.
    number: u64,
    count: TrafficCount,
}

/// How live requests of one route fare in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveLatency {
    /// The route.
    pub route: RouteId,
    /// The region.
    pub region: RegionId,
    /// First bytes, as an estimate of their seconds' medians.
    pub estimate: Estimate,
    /// Whose requests these are, and for what.
    pub seen: Breadth,
}

/// So many seconds in a row must come later than usual: one may be a garbage collection.
const SLOW_SECONDS: u32 = 2;

impl Traffic {
    /// Counts what one worker saw, with the median of its first bytes.
    pub fn count(
        &mut self,
        key: (RouteId, RegionId),
        seen: &TrafficCount,
        first_byte: Option<Duration>,
        now: Timestamp,
    ) {
        let number = now.since_start().as_secs();
        let recent = self.pairs.entry(key).or_default();
        let second = &mut recent.seconds[(number % SECONDS as u64) as usize];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second.count.add(seen);
        if first_byte.is_some() {
            let phases = Phases {
                first_byte,
                ..Phases::default()
            };
            recent.latency.observe(phases, true, now);
            recent.slow = match recent.latency.is_usual() {
                true => 0,
                false => recent.slow.saturating_add(1),
            };
        }
    }

    /// First bytes of live requests, in order of routes and regions.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = LiveLatency> {
        self.pairs.iter().filter_map(move |(key, recent)| {
            Some(LiveLatency {
                route: key.0,
                region: key.1,
                estimate: recent.latency.estimate(now)?,
                seen: recent.sum(now).seen,
            })
        })
    }

    /// Regions whose first bytes come far later than a few seconds ago, on all routes that have
    /// requests there.
    #[must_use]
    pub fn slowed(&self) -> RegionSet {
        let slow = |recent: &Recent| recent.slow >= SLOW_SECONDS;
        let of = |is_slow: bool| {
            let pairs = self.pairs.iter().filter(|(_, one)| slow(one) == is_slow);
            pairs.map(|((_, region), _)| *region).collect::<RegionSet>()
        };
        of(true).without(of(false))
    }

    /// Forgets pairs without a request in the last seconds, but not how long their answers took.
    pub fn forget_old(&mut self, now: Timestamp) {
        self.pairs.retain(|_, recent| {
            recent.sum(now).requests > 0 || recent.latency.estimate(now).is_some()
        });
    }

    /// Forgets everything about a region: what it did before it fell says nothing about after.
    pub fn forget_region(&mut self, region: RegionId) {
        self.pairs.retain(|(_, of), _| *of != region);
    }

    /// Every route and region with requests in the last seconds.
    pub fn sums(
        &self,
        now: Timestamp,
    ) -> impl Iterator<Item = ((RouteId, RegionId), TrafficCount)> {
        let sums = self.pairs.iter();
        sums.map(move |(key, recent)| (*key, recent.sum(now)))
            .filter(|(_, sum)| sum.requests > 0)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
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
