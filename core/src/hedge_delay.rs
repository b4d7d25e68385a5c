//! The hedge delay: how long first bytes usually take, by route and region, and so when one is late.

use std::time::Duration;

use crate::model::log_linear::LogLinear;
use crate::table::traffic_policy::HedgePolicy;

/// First bytes seen before their distribution is believed.
const ENOUGH: u32 = 20;

/// First bytes after which older ones count half: what is usual may change within a minute.
const HALVED_AT: u32 = 1024;

/// First bytes between two looks at the distribution.
const LOOK_EVERY: u32 = 16;

/// Two buckets per doubling of microseconds, from 64 us to 67 s.
const LAYOUT: LogLinear = LogLinear::new(6, 26, 1);
const BUCKETS: usize = LAYOUT.buckets();

/// What one worker saw of first bytes of one route in one region.
#[derive(Clone, Copy, Debug)]
pub struct LatencyTracker {
    counts: [u32; BUCKETS],
    seen: u32,
    since_look: u32,
    /// The 99th percentile; `None` while unknown.
    p99: Option<Duration>,
}

impl Default for LatencyTracker {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            seen: 0,
            since_look: 0,
            p99: None,
        }
    }
}

impl LatencyTracker {
    /// A first byte took this long. One that is late counts as just late, so that what is usual
    /// follows a lasting change in steps and forgets a short one soon.
    pub fn observe(&mut self, took: Duration, policy: &HedgePolicy) {
        let took = self.late_at(policy).map_or(took, |late| took.min(late));
        self.counts[bucket(took)] += 1;
        self.seen += 1;
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY && self.seen >= ENOUGH {
            self.since_look = 0;
            self.p99 = Some(self.percentile_99());
        }
        if self.seen >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.counts.iter().sum();
        }
    }

    /// After how long without a first byte another region is asked too; `None` while too little was
    /// seen.
    #[must_use]
    pub fn hedge_delay(&self, policy: &HedgePolicy) -> Option<Duration> {
        let late = self.p99?.saturating_mul(policy.times_p99);
        Some(late.max(policy.min_delay).min(policy.max_delay))
    }

    /// Whether a first byte that took this long speaks against who gave it. Without an upper
    /// bound: where all answers take seconds, seconds are usual.
    #[must_use]
    pub fn is_late(&self, took: Duration, policy: &HedgePolicy) -> bool {
        self.late_at(policy).is_some_and(|late| took > late)
    }

    /// What [`is_late`](Self::is_late) goes by; `None` while too little was seen.
    #[must_use]
    pub fn late_at(&self, policy: &HedgePolicy) -> Option<Duration> {
        Some((self.p99?.saturating_mul(policy.times_p99)).max(policy.min_delay))
    }

    /// The upper bound of the bucket that holds it.
    fn percentile_99(&self) -> Duration {
        let mut above = self.seen / 100;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            if *count > above {
                return Duration::from_micros(LAYOUT.upper_bound(bucket));
            }
            above -= count;
        }
        Duration::ZERO
    }
}

/// The delay while no request has told, by what probes say that a first byte takes.
#[must_use]
pub fn unmeasured_hedge_delay(probed: Option<Duration>, policy: &HedgePolicy) -> Duration {
    let usual = probed.map_or(Duration::ZERO, |probed| {
        probed.saturating_mul(policy.times_p99)
    });
    usual
        .max(policy.unmeasured_delay)
        .min(policy.max_delay.max(policy.unmeasured_delay))
}

/// Whether a timer of `delay` that fired so late tells of the worker rather than of who is waited for:
/// the answer may be here, and unread for want of processor time. A hedge would be one more thing to do.
#[must_use]
pub fn is_worker_late(late_by: Duration, delay: Duration) -> bool {
    late_by > delay / 2
}

fn bucket(took: Duration) -> usize {
    LAYOUT.bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: HedgePolicy = HedgePolicy {
        times_p99: 3,
        min_delay: Duration::from_millis(50),
        max_delay: Duration::from_secs(1),
        unmeasured_delay: Duration::from_millis(250),
    };

    fn after(times: u32, took: Duration) -> Option<Duration> {
        let mut tracker = LatencyTracker::default();
        for _ in 0..times {
            tracker.observe(took, &POLICY);
        }
        tracker.hedge_delay(&POLICY)
    }

    #[test]
    fn the_delay_is_about_three_times_the_usual_worst_within_bounds() {
        assert_eq!(after(5, Duration::from_millis(40)), None);
        let late = after(100, Duration::from_millis(40)).unwrap();
        assert!((120..180).contains(&late.as_millis()), "{late:?}");
        assert_eq!(
            after(100, Duration::from_micros(300)),
            Some(POLICY.min_delay)
        );
        assert_eq!(after(100, Duration::from_secs(20)), Some(POLICY.max_delay));
    }

    #[test]
    fn a_timer_that_fires_half_its_delay_late_tells_of_the_worker() {
        let millis = Duration::from_millis;
        assert!(!is_worker_late(millis(20), millis(50)));
        assert!(is_worker_late(millis(30), millis(50)));
        assert!(!is_worker_late(millis(30), millis(250)));
    }

    #[test]
    fn until_requests_tell_probes_do() {
        let millis = Duration::from_millis;
        let delay = |probed| unmeasured_hedge_delay(probed, &POLICY);
        assert_eq!(delay(None), POLICY.unmeasured_delay);
        assert_eq!(delay(Some(millis(5))), POLICY.unmeasured_delay);
        assert_eq!(delay(Some(millis(120))), millis(360));
    }

    #[test]
    fn the_delay_keeps_to_what_was_written() {
        let policy = HedgePolicy {
            times_p99: 10,
            min_delay: Duration::from_millis(5),
            max_delay: Duration::from_millis(300),
            ..POLICY
        };
        let mut tracker = LatencyTracker::default();
        for _ in 0..100 {
            tracker.observe(Duration::from_millis(10), &policy);
        }
        let delay = tracker.hedge_delay(&policy).unwrap();
        assert!((100..160).contains(&delay.as_millis()), "{delay:?}");
        let lower = HedgePolicy {
            max_delay: Duration::from_millis(60),
            ..policy
        };
        assert_eq!(tracker.hedge_delay(&lower), Some(lower.max_delay));
        assert!(!tracker.is_late(Duration::from_millis(90), &policy));
        assert!(tracker.is_late(Duration::from_millis(200), &policy));
    }

    #[test]
    fn one_straggler_in_a_thousand_does_not_make_late_later() {
        let mut tracker = LatencyTracker::default();
        for number in 0..1000 {
            let took = if number == 500 { 900 } else { 20 };
            tracker.observe(Duration::from_millis(took), &POLICY);
        }
        assert!(tracker.hedge_delay(&POLICY).unwrap() < Duration::from_millis(100));
    }
}
