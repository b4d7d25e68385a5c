//! A moment, as the core sees it: nobody below the shell reads a clock.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far before the clock's start moments reach: what an earlier process saw keeps its age and
/// its order when it is remembered. No outage lasts for a year.
const PAST: Duration = Duration::from_secs(365 * 24 * 3600);

/// A moment on the process's monotonic clock, in nanoseconds since a year before its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Default for Timestamp {
    fn default() -> Self {
        Self::ZERO
    }
}

impl Timestamp {
    /// The moment the process's clock starts.
    pub const ZERO: Self = Self(PAST.as_nanos() as u64);

    /// The moment `since_start` after the clock's start.
    #[must_use]
    pub fn after_start(since_start: Duration) -> Self {
        Self::ZERO + since_start
    }

    /// How long after the clock's start this is; zero for moments before it.
    #[must_use]
    pub fn since_start(self) -> Duration {
        self.since(Self::ZERO)
    }

    /// How long after `earlier` this is; zero if it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, earlier: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(earlier.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_the_start_keep_their_order() {
        let hour = Duration::from_secs(3600);
        let (early, late) = (Timestamp::ZERO - hour * 2, Timestamp::ZERO - hour);
        assert_eq!(late.since(early), hour);
        assert_eq!(early.since_start(), Duration::ZERO);
        assert_eq!(Timestamp::default(), Timestamp::after_start(Duration::ZERO));
    }
}
