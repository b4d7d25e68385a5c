//! What one worker saw of one route in one region.

use std::time::Duration;

use crate::apply::WindowCount;
use crate::health::breadth::Breadth;
use crate::health::traffic_count::TrafficCount;
use crate::hedge_delay::LatencyTracker;
use crate::model::id::{EndpointId, RegionId, RouteId};
use crate::model::time::Timestamp;
use crate::table::traffic_policy::OutlierDetection;

/// First bytes that a second's median is taken of: the newest ones.
const SAMPLES: usize = 16;

/// A route in a region.
pub type RouteRegion = (RouteId, RegionId);

/// Seconds without a request after which it makes room.
const QUIET: u8 = 60;

/// How an attempt failed, as far as evidence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureVerdict {
    /// Another region, or another endpoint, did better with the same request.
    Compared,
    /// Nothing else was tried: the request could not be repeated.
    Uncompared,
    /// It asked to be spared: 429, or 503 with `Retry-After`.
    AskedToWait,
}

/// One route in one region.
#[derive(Debug, Default)]
pub(super) struct RouteStats {
    pub(super) latency: LatencyTracker,
    /// Of requests that must not be asked twice, which are known by their own times only.
    pub(super) write_latency: LatencyTracker,
    /// Seconds without a request.
    quiet: u8,
    /// What was counted since the board was told last.
    untold: TrafficCount,
    /// The newest first bytes since then, in microseconds, and how many there were.
    first_bytes: [u32; SAMPLES],
    timed: u16,
}

impl RouteStats {
    /// Whether it had a request lately. To be asked once a second.
    pub(super) fn is_alive(&mut self) -> bool {
        let is_quiet = self.untold.requests == 0;
        self.quiet = if is_quiet {
            self.quiet.saturating_add(1)
        } else {
            0
        };
        self.quiet < QUIET
    }

    /// Counts a good answer's head.
    pub(super) fn answered(&mut self, mark: Breadth, endpoint: EndpointId, first_byte: Duration) {
        self.untold.request(mark, endpoint);
        let micros = u32::try_from(first_byte.as_micros()).unwrap_or(u32::MAX);
        self.first_bytes[usize::from(self.timed) % SAMPLES] = micros;
        self.timed = self.timed.wrapping_add(1).max(1);
    }

    /// Counts a failure.
    pub(super) fn failed(
        &mut self,
        mark: Breadth,
        endpoint: EndpointId,
        verdict: FailureVerdict,
        now: Timestamp,
    ) {
        let untold = &mut self.untold;
        untold.request(mark, endpoint);
        untold.failing.add(mark.failed_at(now));
        untold.endpoints.failed(endpoint);
        let counter = match verdict {
            FailureVerdict::Compared => &mut untold.failures,
            FailureVerdict::Uncompared => &mut untold.uncompared,
            FailureVerdict::AskedToWait => &mut untold.put_off,
        };
        *counter = counter.saturating_add(1);
    }

    /// Counts a body that failed after its head was counted as good.
    pub(super) fn body_failed(&mut self, mark: Breadth, endpoint: EndpointId, now: Timestamp) {
        self.untold.failing.add(mark.failed_at(now));
        self.untold.endpoints.failed(endpoint);
        self.untold.uncompared = self.untold.uncompared.saturating_add(1);
    }

    /// Whether the board should hear before the second is over: as many failed, for whatever reason,
    /// as may eject a region.
    pub(super) fn is_urgent(&self, policy: &OutlierDetection) -> bool {
        let bad = self.untold.bad();
        (self.untold).is_many(bad, policy.minimum_failures, policy.failure_percent)
            && self.untold.failing.are_moments(policy.minimum_breadth)
    }

    /// What was counted since this was asked last, if anything was.
    pub(super) fn take(&mut self, (route, region): RouteRegion) -> Option<WindowCount> {
        let count = std::mem::take(&mut self.untold);
        let first_byte = self.take_median();
        (count.requests > 0).then_some(WindowCount {
            route,
            region,
            count,
            first_byte,
        })
    }

    fn take_median(&mut self) -> Option<Duration> {
        let timed = usize::from(std::mem::take(&mut self.timed)).min(SAMPLES);
        let newest = &mut self.first_bytes[..timed];
        newest.sort_unstable();
        let median = newest.get(timed.saturating_sub(1) / 2)?;
        Some(Duration::from_micros(u64::from(*median)))
    }
}
