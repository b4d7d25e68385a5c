//! The retry budget: how much extra load failing over may put on a region.

use std::time::Duration;

use crate::model::id::{MAX_REGIONS, RegionId};
use crate::model::time::Timestamp;

/// Retries to one region may be at most this share of all requests: one in five.
pub const SHARE: f64 = 0.2;

/// So many retries to one region may be under way at once whatever the share, or a worker with
/// few requests could not fail over at all.
pub const MINIMUM: u32 = 3;

/// The share is of so many requests at least. What fails at once after a quiet spell is no storm: ten
/// retries a second are what other proxies always allow, and overrun nobody.
pub const LEAST_REQUESTS: u64 = 500;

/// The window slides in cells of a second.
const CELLS: usize = 10;
const CELL: Duration = Duration::from_secs(1);

/// Why a retry may not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the retry budget of the region is spent")]
pub struct Spent;

/// One worker's retries by destination region over the last ten seconds.
///
/// The share is of all requests the worker saw, not of those to the destination: a region that
/// takes over from another had no traffic of its own before, and would have no budget just when
/// it is needed. Each worker keeps its own, so that no worker waits for another. The size is
/// fixed; region numbers that change meaning in a reload misplace some seconds of counts, which
/// the window forgets.
#[derive(Clone, Debug)]
pub struct Budget {
    share: f64,
    minimum: u32,
    /// The newest cell, in seconds since the clock's start.
    newest: u64,
    requests: [u32; CELLS],
    retries: Box<[[u32; MAX_REGIONS]; CELLS]>,
    outstanding: [u32; MAX_REGIONS],
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(SHARE, MINIMUM)
    }
}

impl Budget {
    /// A budget of `share` (0 to 1) of all requests, and `minimum` retries at once.
    #[must_use]
    pub fn new(share: f64, minimum: u32) -> Self {
        Self {
            share,
            minimum,
            newest: 0,
            requests: [0; CELLS],
            retries: Box::new([[0; MAX_REGIONS]; CELLS]),
            outstanding: [0; MAX_REGIONS],
        }
    }

    /// From now on allows this share and this minimum.
    pub fn follow_limits(&mut self, share: f64, minimum: u32) {
        self.share = share;
        self.minimum = minimum;
    }

    /// Counts a request that a viewer made.
    pub fn request_seen(&mut self, now: Timestamp) {
        let cell = self.advance(now);
        self.requests[cell] = self.requests[cell].saturating_add(1);
    }

    /// Charges a retry to `region`, when it is decided. The caller gives it back with
    /// [`Budget::refund`] when the attempt has ended, however it did.
    ///
    /// # Errors
    ///
    /// [`Spent`] if neither the share nor the minimum leaves room; nothing is charged then.
    pub fn charge(&mut self, region: RegionId, now: Timestamp) -> Result<(), Spent> {
        let cell = self.advance(now);
        let index = region.index() % MAX_REGIONS;
        let sum = |counts: &mut dyn Iterator<Item = u32>| counts.map(u64::from).sum::<u64>();
        let requests = sum(&mut self.requests.iter().copied());
        let retries = sum(&mut self.retries.iter().map(|cell| cell[index]));
        let requests = requests.max(LEAST_REQUESTS);
        let within_share = (retries + 1) as f64 <= requests as f64 * self.share;
        if self.outstanding[index] >= self.minimum && !within_share {
            return Err(Spent);
        }
        self.outstanding[index] = self.outstanding[index].saturating_add(1);
        self.retries[cell][index] = self.retries[cell][index].saturating_add(1);
        Ok(())
    }

    /// A charged retry has ended.
    pub fn refund(&mut self, region: RegionId) {
        let index = region.index() % MAX_REGIONS;
        self.outstanding[index] = self.outstanding[index].saturating_sub(1);
    }

    /// Empties the cells that time has passed over and gives the present one's index.
    fn advance(&mut self, now: Timestamp) -> usize {
        let second = now.since_start().as_secs() / CELL.as_secs();
        let passed = second.saturating_sub(self.newest);
        for step in 1..=passed.min(CELLS as u64) {
            let cell = ((self.newest + step) % CELLS as u64) as usize;
            self.requests[cell] = 0;
            self.retries[cell] = [0; MAX_REGIONS];
        }
        self.newest = self.newest.max(second);
        (self.newest % CELLS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EAST: RegionId = RegionId(0);
    const WEST: RegionId = RegionId(63);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn charges(budget: &mut Budget, region: RegionId, now: Timestamp) -> usize {
        (0..1000)
            .take_while(|_| budget.charge(region, now).is_ok())
            .count()
    }

    #[test]
    fn a_thousand_failures_at_once_retry_a_fifth() {
        let mut budget = Budget::default();
        for _ in 0..1000 {
            budget.request_seen(at(1));
        }
        assert_eq!(charges(&mut budget, EAST, at(1)), 200);
        assert_eq!(charges(&mut budget, WEST, at(1)), 200);
    }

    #[test]
    fn all_that_a_quiet_proxy_gets_at_once_may_be_retried() {
        let mut budget = Budget::default();
        for _ in 0..50 {
            budget.request_seen(at(1));
            assert_eq!(budget.charge(EAST, at(1)), Ok(()));
        }
    }

    #[test]
    fn three_at_once_are_always_allowed() {
        let mut budget = Budget::new(0.0, MINIMUM);
        assert_eq!(charges(&mut budget, EAST, at(1)), 3);
        budget.refund(EAST);
        assert_eq!(charges(&mut budget, EAST, at(1)), 1);
    }

    #[test]
    fn the_window_forgets_after_ten_seconds() {
        let mut budget = Budget::default();
        for second in 0..10 {
            for _ in 0..200 {
                budget.request_seen(at(second));
            }
        }
        assert_eq!(charges(&mut budget, EAST, at(9)), 400);
        for _ in 0..400 {
            budget.refund(EAST);
        }
        // Half of the requests have left the window, the retries of second 9 have not.
        assert_eq!(charges(&mut budget, EAST, at(14)), 3);
        assert_eq!(charges(&mut budget, WEST, at(14)), 200);
        assert_eq!(charges(&mut budget, WEST, at(500)), 100);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_harmless() {
        let mut budget = Budget::default();
        budget.request_seen(at(100));
        budget.request_seen(at(3));
        assert_eq!(charges(&mut budget, EAST, at(3)), 100);
        budget.refund(WEST);
    }
}
