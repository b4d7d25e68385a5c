//! How long first bytes usually take, by route and region, and so when one is late.

use std::collections::HashMap;
use std::time::Duration;

use crate::model::id::{RegionId, RouteId};

/// A first byte later than this many times the usual worst is late.
const TIMES_USUAL: u32 = 3;

/// The bounds of what counts as late: below, the noise of a busy machine would send second
/// attempts; above, a viewer waits.
const EARLIEST: Duration = Duration::from_millis(50);
const LATEST: Duration = Duration::from_secs(1);

/// What counts as late before enough was seen to tell.
const UNKNOWN: Duration = Duration::from_millis(300);

/// First bytes seen before their distribution is believed.
const ENOUGH: u32 = 20;

/// First bytes after which older ones count half: what is usual may change within a minute.
const HALVED_AT: u32 = 1024;

/// First bytes between two looks at the distribution.
const LOOK_EVERY: u32 = 16;

/// Pairs of a route and a region that are kept; further ones use [`UNKNOWN`].
const PAIRS: usize = 4096;

/// Two buckets per doubling, from 2^6 microseconds (64 us) on.
const BUCKETS: usize = 40;
const FIRST_EXPONENT: u32 = 6;

/// What one worker saw of first bytes.
#[derive(Debug, Default)]
pub struct Pace {
    usual: HashMap<(RouteId, RegionId), Usual, foldhash::fast::RandomState>,
    generation: u64,
}

#[derive(Clone, Copy, Debug)]
struct Usual {
    counts: [u32; BUCKETS],
    seen: u32,
    since_look: u32,
    late_after: Duration,
}

impl Default for Usual {
    fn default() -> Self {
        Self {
            counts: [0; BUCKETS],
            seen: 0,
            since_look: 0,
            late_after: UNKNOWN,
        }
    }
}

impl Pace {
    /// A first byte of `region` for `route` took this long. Numbers of routes and regions change
    /// meaning with `generation`: what was seen before is forgotten then.
    pub fn observe(&mut self, generation: u64, route: RouteId, region: RegionId, took: Duration) {
        if self.generation != generation {
            self.generation = generation;
            self.usual.clear();
        }
        if let Some(usual) = self.usual.get_mut(&(route, region)) {
            usual.observe(took);
        } else if self.usual.len() < PAIRS {
            self.usual.entry((route, region)).or_default().observe(took);
        }
    }

    /// After how long a first byte of `region` for `route` is late: about three times its 99th
    /// percentile, 50 ms to 1 s.
    #[must_use]
    pub fn late_after(&self, generation: u64, route: RouteId, region: RegionId) -> Duration {
        if self.generation != generation {
            return UNKNOWN;
        }
        self.usual
            .get(&(route, region))
            .map_or(UNKNOWN, |usual| usual.late_after)
    }
}

impl Usual {
    fn observe(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.seen += 1;
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY && self.seen >= ENOUGH {
            self.since_look = 0;
            self.late_after = (self.percentile_99() * TIMES_USUAL).clamp(EARLIEST, LATEST);
        }
        if self.seen >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.seen = self.counts.iter().sum();
        }
    }

    /// The upper bound of the bucket that holds it.
    fn percentile_99(&self) -> Duration {
        let mut above = self.seen / 100;
        for (bucket, count) in self.counts.iter().enumerate().rev() {
            if *count > above {
                return upper_bound(bucket);
            }
            above -= count;
        }
        Duration::ZERO
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros())
        .unwrap_or(u64::MAX)
        .max(1 << FIRST_EXPONENT);
    let exponent = micros.ilog2();
    let upper_half = (micros >> (exponent - 1)) & 1;
    let place = 2 * (exponent - FIRST_EXPONENT) as usize + upper_half as usize;
    place.min(BUCKETS - 1)
}

fn upper_bound(bucket: usize) -> Duration {
    let lower = 1_u64 << (FIRST_EXPONENT + bucket as u32 / 2);
    let upper = if bucket.is_multiple_of(2) {
        lower + lower / 2
    } else {
        lower * 2
    };
    Duration::from_micros(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: (RouteId, RegionId) = (RouteId(0), RegionId(1));

    fn after(times: u32, took: Duration) -> Duration {
        let mut pace = Pace::default();
        for _ in 0..times {
            pace.observe(1, PAIR.0, PAIR.1, took);
        }
        pace.late_after(1, PAIR.0, PAIR.1)
    }

    #[test]
    fn late_is_about_three_times_the_usual_worst_within_bounds() {
        assert_eq!(after(5, Duration::from_millis(40)), UNKNOWN);
        let late = after(100, Duration::from_millis(40));
        assert!((120..180).contains(&late.as_millis()), "{late:?}");
        assert_eq!(after(100, Duration::from_micros(300)), EARLIEST);
        assert_eq!(after(100, Duration::from_secs(20)), LATEST);
    }

    #[test]
    fn one_straggler_in_a_thousand_does_not_make_late_later() {
        let mut pace = Pace::default();
        for number in 0..1000 {
            let took = if number == 500 { 900 } else { 20 };
            pace.observe(1, PAIR.0, PAIR.1, Duration::from_millis(took));
        }
        assert!(pace.late_after(1, PAIR.0, PAIR.1) < Duration::from_millis(100));
    }

    #[test]
    fn another_table_begins_anew() {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.observe(1, PAIR.0, PAIR.1, Duration::from_millis(1));
        }
        assert_eq!(pace.late_after(2, PAIR.0, PAIR.1), UNKNOWN);
    }

    #[test]
    fn buckets_hold_what_their_bounds_say() {
        for micros in [1, 64, 95, 96, 127, 128, 5_000, 1_000_000] {
            let took = Duration::from_micros(micros);
            assert!(took <= upper_bound(bucket(took)), "{micros}");
        }
    }
}
