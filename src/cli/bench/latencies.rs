//! How long things took, as a distribution.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::time::seconds;

/// Longer times count as this.
const LONGEST_MICROS: u64 = 3_600_000_000;
/// Times are kept to a thousandth of themselves.
const DIGITS: u8 = 3;

/// Times, counted to a thousandth of themselves or a microsecond.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    micros: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        // It starts small and grows: one per country would be much if each held an hour at once.
        let micros = Histogram::new(DIGITS).expect("the digits are within 0 to 5");
        Self { micros }
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn record(&mut self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_MICROS);
        // It resizes itself, and an hour is far below what it can grow to.
        let _ = self.micros.record(micros.min(LONGEST_MICROS));
    }

    /// Counts those of another too.
    pub(super) fn add(&mut self, other: &Self) {
        let _ = self.micros.add(&other.micros);
    }

    /// What all of them come to.
    pub(super) fn summary(&self) -> LatencySummary {
        let at = |quantile| Duration::from_micros(self.micros.value_at_quantile(quantile));
        if self.micros.is_empty() {
            return LatencySummary::default();
        }
        LatencySummary {
            mean: Duration::from_secs_f64(self.micros.mean() / 1e6),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: Duration::from_micros(self.micros.max()),
        }
    }
}

/// A distribution in six numbers, all zero when nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LatencySummary {
    #[serde(rename = "mean_seconds", serialize_with = "seconds")]
    pub(super) mean: Duration,
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub(super) p50: Duration,
    #[serde(rename = "p90_seconds", serialize_with = "seconds")]
    pub(super) p90: Duration,
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub(super) p99: Duration,
    #[serde(rename = "p99_9_seconds", serialize_with = "seconds")]
    pub(super) p99_9: Duration,
    #[serde(rename = "max_seconds", serialize_with = "seconds")]
    pub(super) max: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_thousandth_whatever_the_scale() {
        for unit in [1, 97, 10_000] {
            let mut latencies = Latencies::default();
            for number in 1..=1000 {
                latencies.record(Duration::from_micros(unit * number));
            }
            let summary = latencies.summary();
            for (quantile, wanted) in [
                (summary.p50, 500),
                (summary.p90, 900),
                (summary.p99, 990),
                (summary.p99_9, 999),
                (summary.max, 1000),
            ] {
                let wanted = Duration::from_micros(unit * wanted).as_secs_f64();
                let error = (quantile.as_secs_f64() - wanted).abs() / wanted;
                assert!(error <= 0.001, "{quantile:?} for {wanted} s");
            }
        }
    }

    #[test]
    fn two_parts_are_the_whole_and_a_day_counts_as_an_hour() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_secs(86_400));
        one.add(&other);
        let summary = one.summary();
        assert_eq!(summary.p50.as_millis(), 1);
        assert_eq!(summary.max.as_secs(), 3600);
        assert_eq!(Latencies::default().summary(), LatencySummary::default());
    }
}
