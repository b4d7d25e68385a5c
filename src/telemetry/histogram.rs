//! A histogram that costs a few nanoseconds to record into.
//!
//! Buckets are log-linear over microseconds: each doubling from 512 µs to 33.6 s is divided in
//! four equal parts, so a value is known to a quarter of itself at worst. Each cell has one
//! writer, which needs no locked instruction; readers sum the cells of all workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use meridian_core::model::log_linear::LogLinear;

/// Everything below 512 µs shares one bucket, and everything from 33.6 s on.
const LAYOUT: LogLinear = LogLinear::new(9, 25, 2);
const BUCKETS: usize = LAYOUT.buckets();

/// The bounds exported as `le`, in microseconds: every doubling, and the half steps between
/// 4 ms and 256 ms, where regions of one continent differ.
pub const EXPORTED_BOUNDS: [u64; 23] = [
    512, 1_024, 2_048, 4_096, 6_144, 8_192, 12_288, 16_384, 24_576, 32_768, 49_152, 65_536, 98_304,
    131_072, 196_608, 262_144, 524_288, 1_048_576, 2_097_152, 4_194_304, 8_388_608, 16_777_216,
    33_554_432,
];

/// A counter with one writer.
#[derive(Debug, Default)]
pub struct WorkerCell(AtomicU64);

impl WorkerCell {
    /// Adds `amount`. Only the owning worker may call it: two writers would lose counts.
    #[inline]
    pub fn add(&self, amount: u64) {
        let now = self.0.load(Ordering::Relaxed).wrapping_add(amount);
        self.0.store(now, Ordering::Relaxed);
    }

    /// Takes `amount` off a cell used as a gauge; never below zero. Owner only, as [`WorkerCell::add`].
    #[inline]
    pub fn subtract(&self, amount: u64) {
        let now = self.0.load(Ordering::Relaxed).saturating_sub(amount);
        self.0.store(now, Ordering::Relaxed);
    }

    /// The value now, from any thread.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations of one series, as one worker saw them.
#[derive(Debug)]
pub struct WorkerHistogram {
    buckets: [WorkerCell; BUCKETS],
    sum_micros: WorkerCell,
}

impl Default for WorkerHistogram {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| WorkerCell::default()),
            sum_micros: WorkerCell::default(),
        }
    }
}

impl WorkerHistogram {
    /// Counts one duration. Only the owning worker may call it.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[LAYOUT.bucket(micros)].add(1);
        self.sum_micros.add(micros);
    }

    /// What was counted so far, from any thread.
    #[must_use]
    pub fn totals(&self) -> HistogramTotals {
        HistogramTotals {
            buckets: std::array::from_fn(|bucket| self.buckets[bucket].value()),
            sum_micros: self.sum_micros.value(),
        }
    }
}

/// Durations of one series at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramTotals {
    buckets: [u64; BUCKETS],
    sum_micros: u64,
}

impl Default for HistogramTotals {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            sum_micros: 0,
        }
    }
}

impl HistogramTotals {
    /// Adds one duration, for histograms kept under a lock on the control side.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[LAYOUT.bucket(micros)] += 1;
        self.sum_micros = self.sum_micros.wrapping_add(micros);
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (total, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *total += more;
        }
        self.sum_micros = self.sum_micros.wrapping_add(other.sum_micros);
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        Duration::from_micros(self.sum_micros).as_secs_f64()
    }

    /// How many durations were below each of [`EXPORTED_BOUNDS`], in their order.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        EXPORTED_BOUNDS.iter().map(|bound| {
            let below: u64 = self.buckets[..LAYOUT.bucket(*bound)].iter().sum();
            (*bound, below)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exported_bound_begins_a_bucket() {
        for bound in EXPORTED_BOUNDS {
            assert_eq!(
                LAYOUT.bucket(bound - 1) + 1,
                LAYOUT.bucket(bound),
                "{bound}"
            );
            assert_eq!(LAYOUT.upper_bound(LAYOUT.bucket(bound - 1)), bound);
        }
    }

    #[test]
    fn cumulative_counts_rise_and_the_overflow_is_only_in_the_count() {
        let histogram = WorkerHistogram::default();
        for millis in [0, 1, 5, 40, 120, 40_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let totals = histogram.totals();
        let counts: Vec<u64> = totals.cumulative().map(|(_, below)| below).collect();
        assert!(counts.is_sorted());
        assert_eq!(counts.last(), Some(&5));
        assert_eq!(totals.count(), 6);
        assert!((totals.sum_seconds() - 40.166).abs() < 1e-9);
    }
}
