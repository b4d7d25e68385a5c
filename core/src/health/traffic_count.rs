//! What became of requests: counts that add up.

use serde::{Deserialize, Serialize};

use crate::health::breadth::Breadth;
use crate::health::endpoint_marks::EndpointMarks;
use crate::model::id::EndpointId;
use crate::table::traffic_policy::OutlierDetection;

/// Fewer requests than this say nothing about whether a region does worse than another.
pub const ENOUGH: u32 = 20;

/// What became of the requests of one route in one region within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCount {
    /// Attempts that ended, well or not.
    pub requests: u32,
    /// Those that failed where another region, or endpoint, did better with the same request.
    pub failures: u32,
    /// Those that failed and could be tried nowhere else.
    pub uncompared: u32,
    /// Those that were asked to come back later: 429, or 503 with `Retry-After`.
    pub put_off: u32,
    /// Who asked, and for what.
    pub seen: Breadth,
    /// Whose requests failed or were put off, which, and at how many moments.
    pub failing: Breadth,
    /// Where they were sent, and failed or were put off.
    pub endpoints: EndpointMarks,
}

/// What is wrong with a route in a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Requests fail that another region answers well.
    Fails,
    /// Nearly all requests fail, of those that can be tried nowhere else.
    FailsUncompared,
    /// Most requests are asked to come back later.
    Overloaded,
}

impl TrafficCount {
    /// An attempt at a request of `mark` ended, at `endpoint`.
    pub fn request(&mut self, mark: Breadth, endpoint: EndpointId) {
        self.requests = self.requests.saturating_add(1);
        self.seen.add(mark);
        self.endpoints.asked(endpoint);
    }

    /// Those that did not end well, for whatever reason.
    #[must_use]
    pub fn bad(&self) -> u32 {
        let failed = self.failures.saturating_add(self.uncompared);
        failed.saturating_add(self.put_off)
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failures = self.failures.saturating_add(other.failures);
        self.uncompared = self.uncompared.saturating_add(other.uncompared);
        self.put_off = self.put_off.saturating_add(other.put_off);
        self.seen.add(other.seen);
        self.failing.add(other.failing);
        self.endpoints.add(other.endpoints);
    }

    /// The same counts, among the viewers, paths, moments and endpoints of `recent`.
    #[must_use]
    pub fn among(mut self, recent: &Self) -> Self {
        self.seen.add(recent.seen);
        self.failing.add(recent.failing);
        self.endpoints.add_asked(recent.endpoints);
        self
    }

    /// What is wrong, if anything is. It takes several moments: what was in flight at one of them
    /// failed once. Failures must be spread over viewers and paths as they are over requests, or one
    /// broken object would speak against all others; where nothing was compared they must be
    /// most viewers', or it may be the viewer that is refused.
    #[must_use]
    pub fn trouble(&self, policy: &OutlierDetection) -> Option<Trouble> {
        if !self.failing.are_moments(policy.minimum_breadth) {
            return None;
        }
        let least = policy.minimum_failures;
        let percent = policy.failure_percent;
        if self.is_many(self.failures, least, percent) && self.failing.covers(&self.seen, percent) {
            Some(Trouble::Fails)
        } else if !self.failing.is_most(&self.seen) {
            None
        } else if self.is_many(self.put_off, least, policy.put_off_percent) {
            Some(Trouble::Overloaded)
        } else {
            let least = policy.minimum_uncompared_failures;
            let percent = policy.uncompared_failure_percent;
            self.is_many(self.uncompared, least, percent)
                .then_some(Trouble::FailsUncompared)
        }
    }

    /// Whether `count` is at least `least`, and `percent` of the requests.
    #[must_use]
    pub fn is_many(&self, count: u32, least: u32, percent: u8) -> bool {
        let is_share = u64::from(count) * 100 >= u64::from(self.requests) * u64::from(percent);
        count >= least && is_share
    }

    /// How many requests are behind `trouble`.
    #[must_use]
    pub fn behind(&self, trouble: Trouble) -> u32 {
        match trouble {
            Trouble::Fails => self.failures,
            Trouble::FailsUncompared => self.uncompared,
            Trouble::Overloaded => self.put_off,
        }
    }

    /// Whether requests fail here by 5 % of all more than at `sibling`.
    #[must_use]
    pub fn fails_more_than(&self, sibling: &Self) -> bool {
        let rate = |count: &Self| f64::from(count.bad()) / f64::from(count.requests.max(1));
        self.requests >= ENOUGH && rate(self) > rate(sibling) + 0.05
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::time::Timestamp;

    fn policy() -> OutlierDetection {
        OutlierDetection::default()
    }

    /// Counts of `requests` of the same viewer, at several moments.
    fn of(requests: u32) -> TrafficCount {
        let mark = Breadth::of([203, 0, 113, 1].into(), "/");
        let mut failing = Breadth::default();
        for second in 0..5 {
            let now = Timestamp::after_start(Duration::from_millis(second * 30));
            failing.add(mark.failed_at(now));
        }
        TrafficCount {
            requests,
            seen: mark,
            failing,
            ..TrafficCount::default()
        }
    }

    #[test]
    fn failures_are_trouble_when_they_are_many_and_a_share() {
        let failing = |failures, requests, policy: &OutlierDetection| {
            let count = TrafficCount {
                failures,
                ..of(requests)
            };
            count.trouble(policy) == Some(Trouble::Fails)
        };
        assert!(failing(10, 50, &policy()));
        assert!(!failing(9, 9, &policy()));
        assert!(!failing(10, 51, &policy()));
        let share = OutlierDetection {
            failure_percent: 50,
            ..policy()
        };
        assert!(!failing(10, 50, &share) && failing(25, 50, &share));
        let few = OutlierDetection {
            minimum_failures: 3,
            ..policy()
        };
        assert!(failing(3, 15, &few));
    }

    #[test]
    fn what_was_put_off_or_not_compared_has_thresholds_of_its_own() {
        let put_off = |count, policy: &OutlierDetection| {
            let count = TrafficCount {
                put_off: count,
                ..of(40)
            };
            count.trouble(policy)
        };
        assert_eq!(put_off(20, &policy()), Some(Trouble::Overloaded));
        let all = OutlierDetection {
            put_off_percent: 100,
            ..policy()
        };
        assert_eq!(put_off(20, &all), None);
        let uncompared = |count, policy: &OutlierDetection| {
            let count = TrafficCount {
                uncompared: count,
                ..of(25)
            };
            count.trouble(policy)
        };
        assert_eq!(uncompared(20, &policy()), Some(Trouble::FailsUncompared));
        assert_eq!(uncompared(19, &policy()), None);
        let fewer = OutlierDetection {
            minimum_uncompared_failures: 10,
            uncompared_failure_percent: 40,
            ..policy()
        };
        assert_eq!(uncompared(10, &fewer), Some(Trouble::FailsUncompared));
    }
}
