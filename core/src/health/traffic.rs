//! What live requests of all workers saw in the last seconds, by route and region.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::latency::LatencyEstimate;
use crate::model::id::{RegionId, RouteId};
use crate::model::outcome::Phases;
use crate::model::time::Timestamp;

/// How many seconds are looked at together.
const SECONDS: usize = 5;

/// Fewer requests than this say nothing about a rate.
pub const ENOUGH: u32 = 20;

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
    sum: Sum,
    /// Means of first bytes times the requests they stand for, in microseconds.
    weighted: u64,
    timed: u32,
}

/// Counts of one route in one region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Attempts that ended.
    pub requests: u32,
    /// Those that failed where another region did better with the same request.
    pub failures: u32,
    /// Those that failed and could be tried nowhere else.
    pub alone: u32,
    /// Those that were asked to come back later.
    pub waits: u32,
    /// One of 64 bits for each viewer.
    pub viewers: u64,
    /// The bits of those whose requests failed or were put off.
    pub failing_viewers: u64,
    /// How late first bytes came, on average.
    pub first_byte: Option<Duration>,
}

/// What is wrong with a route in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Requests fail that another region answers well.
    Fails,
    /// Nearly all requests fail, of those that can be tried nowhere else.
    FailsAlone,
    /// Most requests are asked to come back later.
    Overloaded,
}

impl Sum {
    /// What is wrong, if anything is. One viewer's requests among those of many prove nothing where
    /// nothing was compared: it may be the viewer that is refused.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let (all, failing) = (self.viewers.count_ones(), self.failing_viewers.count_ones());
        let most_viewers = failing * 2 >= all;
        if self.failures >= ENOUGH / 2 && self.failures * 5 >= self.requests {
            Some(Trouble::Fails)
        } else if !most_viewers {
            None
        } else if self.waits >= ENOUGH / 2 && self.waits * 2 >= self.requests {
            Some(Trouble::Overloaded)
        } else {
            let nearly_all = self.alone * 5 >= self.requests * 4;
            (self.alone >= ENOUGH && nearly_all).then_some(Trouble::FailsAlone)
        }
    }

    /// The same counts, among the viewers of the last seconds.
    #[must_use]
    pub fn among(self, recent: &Self) -> Self {
        Self {
            viewers: self.viewers | recent.viewers,
            failing_viewers: self.failing_viewers | recent.failing_viewers,
            ..self
        }
    }

    /// Whether it does clearly worse than `sibling`: failures by 5 % of all requests more, or
    /// first bytes later by more than twice and 100 ms. What is far away is no worse for it, so
    /// only a region's own usual time tells, given as `usual`.
    #[must_use]
    pub fn worse_than(&self, sibling: &Self, usual: Option<Duration>) -> bool {
        if self.requests < ENOUGH {
            return false;
        }
        let rate = |sum: &Self| {
            let bad = sum
                .failures
                .saturating_add(sum.alone)
                .saturating_add(sum.waits);
            f64::from(bad) / f64::from(sum.requests.max(1))
        };
        let late = usual.zip(self.first_byte).is_some_and(|(usual, now)| {
            now > usual * 2 + Duration::from_millis(100)
                && sibling.first_byte.is_some_and(|other| now > other * 2)
        });
        rate(self) > rate(sibling) + 0.05 || late
    }
}

impl Sum {
    /// Adds the counts of another; times are averaged elsewhere.
    fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.alone = self.alone.saturating_add(other.alone);
        self.waits = self.waits.saturating_add(other.waits);
        self.viewers |= other.viewers;
        self.failing_viewers |= other.failing_viewers;
    }
}

impl Traffic {
    /// Counts what one worker saw, and forgets what is older than a few seconds.
    pub fn count(&mut self, key: (RouteId, RegionId), seen: Sum, now: Timestamp) {
        let number = now.since_start().as_secs();
        let recent = self.recent.entry(key).or_default();
        let second = &mut recent.seconds[(number % SECONDS as u64) as usize];
        if second.number != number {
            *second = Second {
                number,
                ..Second::default()
            };
        }
        second.sum.add(&seen);
        if let Some(first_byte) = seen.first_byte {
            let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
            let all = micros.saturating_mul(u64::from(seen.requests));
            second.weighted = second.weighted.saturating_add(all);
            second.timed = second.timed.saturating_add(seen.requests);
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
    pub fn sums(&self, now: Timestamp) -> impl Iterator<Item = ((RouteId, RegionId), Sum)> {
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
    fn sum(&self, now: Timestamp) -> Sum {
        let number = now.since_start().as_secs();
        let mut sum = Sum::default();
        let (mut weighted, mut timed) = (0_u64, 0_u64);
        for second in &self.seconds {
            if second.number + SECONDS as u64 > number {
                sum.add(&second.sum);
                weighted = weighted.saturating_add(second.weighted);
                timed += u64::from(second.timed);
            }
        }
        sum.first_byte = weighted.checked_div(timed).map(Duration::from_micros);
        sum
    }
}
