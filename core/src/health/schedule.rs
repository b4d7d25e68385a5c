//! When to probe next.

use std::time::Duration;

use crate::table::origin::ProbeSpec;

/// How much a gap between probes varies either way. Without it the probes of many proxies that
/// started together would reach an origin together for ever.
const JITTER: f64 = 0.2;

/// The gap until an endpoint's next probe: the interval, or the fast one while its state is
/// `changing`, moved by up to 20 % either way.
///
/// `random` is a random number from 0 to 1; the answer depends on nothing else.
#[must_use]
pub fn next_probe(spec: &ProbeSpec, changing: bool, random: f64) -> Duration {
    let gap = if changing {
        spec.fast_interval.min(spec.interval)
    } else {
        spec.interval
    };
    let random = if random.is_nan() {
        0.0
    } else {
        random.clamp(0.0, 1.0)
    };
    gap.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_endpoint_is_probed_at_the_interval_give_or_take_a_fifth() {
        let spec = ProbeSpec::default();
        assert_eq!(next_probe(&spec, false, 0.0), Duration::from_secs(4));
        assert_eq!(next_probe(&spec, false, 0.5), Duration::from_secs(5));
        assert_eq!(next_probe(&spec, false, 1.0), Duration::from_secs(6));
    }

    #[test]
    fn a_changing_endpoint_is_probed_faster() {
        let spec = ProbeSpec::default();
        assert_eq!(next_probe(&spec, true, 1.0), Duration::from_millis(1200));
    }

    #[test]
    fn a_fast_interval_above_the_interval_does_not_slow_probing_down() {
        let spec = ProbeSpec {
            interval: Duration::from_millis(500),
            ..ProbeSpec::default()
        };
        assert_eq!(next_probe(&spec, true, 0.5), Duration::from_millis(500));
    }

    #[test]
    fn a_number_out_of_range_stays_within_the_jitter() {
        let spec = ProbeSpec::default();
        assert_eq!(next_probe(&spec, false, f64::NAN), Duration::from_secs(4));
        assert_eq!(next_probe(&spec, false, 7.0), Duration::from_secs(6));
    }
}
