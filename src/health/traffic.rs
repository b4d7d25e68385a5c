//! What live requests of all workers saw in the last seconds, by route and region.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::id::{RegionId, RouteId};
use crate::model::time::Timestamp;

/// How many seconds are looked at together.
const SECONDS: usize = 5;

/// Fewer requests than this say nothing about a rate.
pub const ENOUGH: u32 = 20;

/// The newest seconds of every route and region that had requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    recent: BTreeMap<(RouteId, RegionId), Recent>,
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
    requests: u32,
    failures: u32,
    /// Medians of first bytes times the requests they stand for, in microseconds.
    weighted: u64,
    timed: u32,
}

/// The last seconds together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Attempts that ended.
    pub requests: u32,
    /// Those that failed as a gateway fails.
    pub failures: u32,
    /// About how late first bytes came: the mean of the workers' medians.
    pub first_byte: Option<Duration>,
}

impl Sum {
    /// Whether at least half of enough requests failed.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.requests >= ENOUGH && self.failures * 2 >= self.requests
    }

    /// Whether it does clearly worse than `sibling`: failures by 5 % of all requests more, or
    /// first bytes later by more than twice and 100 ms. What is far away is no worse for it, so
    /// only a region's own usual time tells, given as `usual`.
    #[must_use]
    pub fn worse_than(&self, sibling: &Self, usual: Option<Duration>) -> bool {
        if self.requests < ENOUGH {
            return false;
        }
        let rate = |sum: &Self| f64::from(sum.failures) / f64::from(sum.requests.max(1));
        let late = usual.zip(self.first_byte).is_some_and(|(usual, now)| {
            now > usual * 2 + Duration::from_millis(100)
                && sibling.first_byte.is_some_and(|other| now > other * 2)
        });
        rate(self) > rate(sibling) + 0.05 || late
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
        second.requests = second.requests.saturating_add(seen.requests);
        second.failures = second.failures.saturating_add(seen.failures);
        if let Some(first_byte) = seen.first_byte {
            let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
            let all = micros.saturating_mul(u64::from(seen.requests));
            second.weighted = second.weighted.saturating_add(all);
            second.timed = second.timed.saturating_add(seen.requests);
        }
    }

    /// Forgets pairs without a request in the last seconds.
    pub fn forget_old(&mut self, now: Timestamp) {
        self.recent.retain(|_, recent| recent.sum(now).requests > 0);
    }

    /// Forgets everything about a region: what it did before it fell says nothing about after.
    pub fn forget_region(&mut self, region: RegionId) {
        self.recent.retain(|(_, of), _| *of != region);
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
        self.recent.is_empty()
    }
}

impl Recent {
    fn sum(&self, now: Timestamp) -> Sum {
        let number = now.since_start().as_secs();
        let mut sum = Sum::default();
        let (mut weighted, mut timed) = (0_u64, 0_u64);
        for second in &self.seconds {
            if second.number + SECONDS as u64 > number {
                sum.requests = sum.requests.saturating_add(second.requests);
                sum.failures = sum.failures.saturating_add(second.failures);
                weighted = weighted.saturating_add(second.weighted);
                timed += u64::from(second.timed);
            }
        }
        sum.first_byte = weighted.checked_div(timed).map(Duration::from_micros);
        sum
    }
}
