//! How long first bytes usually take, by route and region, and so when one is late.

use std::time::Duration;

use crate::model::log_linear::LogLinear;

/// A first byte later than this many times the usual worst is late.
const TIMES_USUAL: u32 = 3;

/// The bounds of what counts as late: below, the noise of a busy machine would send second
/// attempts; above, a viewer waits.
const EARLIEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(1);

/// What counts as late before enough was seen to tell.
const UNKNOWN: Duration = Duration::from_millis(250);

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
pub struct Pace {
    counts: [u32; BUCKETS],
    seen: u32,
    since_look: u32,
    /// Three times the 99th percentile, without bounds; `None` while unknown.
    late: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            seen: 0,
            since_look: 0,
            late: None,
        }
    }
}

impl Pace {
    /// A first byte took this long. One that is late counts as just late, so that what is usual
    /// follows a lasting change in steps and forgets a short one soon.
    pub fn observe(&mut self, took: Duration) {
        let took = self.late.map_or(took, |late| took.min(late.max(EARLIEST)));
        self.counts[bucket(took)] += 1;
        self.seen += 1;
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY && self.seen >= ENOUGH {
            self.since_look = 0;
            self.late = Some(self.percentile_99() * TIMES_USUAL);
        }
        if self.seen >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.counts.iter().sum();
        }
    }

    /// After how long a first byte is late: about three times the 99th percentile, 50 ms to 1 s;
    /// `None` while too little was seen.
    #[must_use]
    pub fn late_after(&self) -> Option<Duration> {
        self.late.map(|late| late.clamp(EARLIEST, LATEST))
    }

    /// The same, by what probes say a first byte takes.
    #[must_use]
    pub fn late_after_probes(probed: Option<Duration>) -> Duration {
        let usual = probed.map(|probed| probed * TIMES_USUAL);
        usual.map_or(UNKNOWN, |usual| usual.clamp(UNKNOWN, LATEST))
    }

    /// Whether a first byte that took this long speaks against who gave it. Without an upper
    /// bound: where all answers take seconds, seconds are usual.
    #[must_use]
    pub fn is_late(&self, took: Duration) -> bool {
        self.late.is_some_and(|late| took > late.max(EARLIEST))
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

fn bucket(took: Duration) -> usize {
    LAYOUT.bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(times: u32, took: Duration) -> Option<Duration> {
        let mut pace = Pace::default();
        for _ in 0..times {
            pace.observe(took);
        }
        pace.late_after()
    }

    #[test]
    fn late_is_about_three_times_the_usual_worst_within_bounds() {
        assert_eq!(after(5, Duration::from_millis(40)), None);
        let late = after(100, Duration::from_millis(40)).unwrap();
        assert!((120..180).contains(&late.as_millis()), "{late:?}");
        assert_eq!(after(100, Duration::from_micros(300)), Some(EARLIEST));
        assert_eq!(after(100, Duration::from_secs(20)), Some(LATEST));
    }

    #[test]
    fn until_requests_tell_probes_do() {
        let millis = Duration::from_millis;
        assert_eq!(Pace::late_after_probes(None), UNKNOWN);
        assert_eq!(Pace::late_after_probes(Some(millis(5))), UNKNOWN);
        assert_eq!(Pace::late_after_probes(Some(millis(120))), millis(360));
    }

    #[test]
    fn one_straggler_in_a_thousand_does_not_make_late_later() {
        let mut pace = Pace::default();
        for number in 0..1000 {
            let took = if number == 500 { 900 } else { 20 };
            pace.observe(Duration::from_millis(took));
        }
        assert!(pace.late_after().unwrap() < Duration::from_millis(100));
    }
}
