//! The only place that reads the time.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use meridian_core::model::time::Timestamp;

/// The process's clock: a monotonic one that starts at zero, and the wall's.
///
/// The monotonic side is tokio's, so that tests can pause it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now. Every part of a process shares one.
    #[must_use]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Now, on the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::after_start(self.start.elapsed())
    }

    /// The moment that `instant` was, on the monotonic clock.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        Timestamp::after_start(instant.saturating_duration_since(self.start))
    }

    /// Now, on the wall's clock.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall's clock"
    )]
    pub fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Now, on the wall's clock, since 1970-01-01 UTC.
    #[must_use]
    pub fn unix(&self) -> Duration {
        self.wall()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
}
