//! How long an endpoint takes to the first byte, on a warm connection.

pub mod saved;

use std::time::Duration;

use crate::model::outcome::Phases;
use crate::model::time::Timestamp;

/// How many recent samples the median is taken of. At the default interval they span 55 s, so
/// one slow answer moves nothing and a lasting change shows after half a minute at most.
pub const WINDOW: usize = 11;

/// Twice as long as ever and this much more is unusual: less may be the noise of a busy machine.
const NOISE: Duration = Duration::from_millis(20);

/// An estimate older than this is unknown: twelve default probe intervals without an answer.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// What is known of one endpoint's latency. A fixed size; observing allocates nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyEstimate {
    /// First-byte times on reused connections: what most requests meet.
    warm: Window,
    /// First-byte times on fresh connections, without the handshakes: the next best, where an
    /// origin lets no connection live from probe to probe.
    cold: Window,
    last: Phases,
}

/// A latency to compare by, and how much to trust it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The median first-byte time.
    pub median: Duration,
    /// How far samples stray from it: the median of their distances.
    pub spread: Duration,
    /// Since the newest sample.
    pub age: Duration,
    /// How many samples it stands on, 1 to [`WINDOW`].
    pub samples: usize,
    /// Whether the samples are of reused connections.
    pub warm: bool,
}

impl LatencyEstimate {
    /// Takes in what each phase of one exchange took, on a reused connection if `warm`.
    pub fn observe(&mut self, phases: Phases, warm: bool, now: Timestamp) {
        self.last = Phases {
            dns: phases.dns.or(self.last.dns),
            connect: phases.connect.or(self.last.connect),
            tls: phases.tls.or(self.last.tls),
            first_byte: phases.first_byte.or(self.last.first_byte),
        };
        if let Some(first_byte) = phases.first_byte {
            self.warm.give_way();
            self.cold.give_way();
            let window = if warm { &mut self.warm } else { &mut self.cold };
            window.push(first_byte, now);
        }
    }

    /// The estimate at `now`, or `None` if there was no sample in the last [`MAX_AGE`].
    #[must_use]
    pub fn estimate(&self, now: Timestamp) -> Option<Estimate> {
        let from = |window: &Window, warm| {
            let age = now.since(window.updated);
            let (median, spread) = window.median_and_spread()?;
            (age <= MAX_AGE).then_some(Estimate {
                median,
                spread,
                age,
                samples: usize::from(window.len),
                warm,
            })
        };
        from(&self.warm, true).or_else(|| from(&self.cold, false))
    }

    /// Whether the newest first byte took about as long as those before it, or less.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        let newest = self.newest_and_median();
        newest.is_some_and(|(newest, median)| newest <= median * 2 + NOISE)
    }

    /// Whether the newest first byte took far longer than those before it, or far less.
    #[must_use]
    pub fn has_turned(&self) -> bool {
        let newest = self.newest_and_median();
        newest.is_some_and(|(newest, median)| {
            newest > median * 2 + NOISE || median > newest * 2 + NOISE
        })
    }

    fn newest_and_median(&self) -> Option<(Duration, Duration)> {
        let window = if self.warm.len > 0 {
            &self.warm
        } else {
            &self.cold
        };
        let (median, _) = window.median_and_spread()?;
        Some((self.last.first_byte?, median))
    }

    /// Forgets all but the newest sample: what was before it says nothing any more.
    pub fn start_anew(&mut self) {
        for window in [&mut self.warm, &mut self.cold] {
            window.start_anew();
        }
    }

    /// What each phase took when it last happened.
    #[must_use]
    pub fn last(&self) -> Phases {
        self.last
    }
}

/// The newest samples, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    samples: [u32; WINDOW],
    /// How many of `samples` are filled.
    len: u8,
    /// Where the next one goes.
    next: u8,
    updated: Timestamp,
    /// Measured before a restart, and longer ago than an estimate counts. It is better than
    /// nothing for the order of regions until the first sample comes, which takes its place.
    stands_in: bool,
}

impl Window {
    /// Makes room for what is measured now.
    fn give_way(&mut self) {
        if self.stands_in {
            *self = Self::default();
        }
    }

    fn push(&mut self, sample: Duration, now: Timestamp) {
        if now.since(self.updated) > MAX_AGE {
            // What was measured before such a gap says nothing about now.
            *self = Self::default();
        }
        self.samples[usize::from(self.next)] =
            u32::try_from(sample.as_micros()).unwrap_or(u32::MAX);
        self.next = (self.next + 1) % WINDOW as u8;
        self.len = (self.len + 1).min(WINDOW as u8);
        self.updated = now;
    }

    fn start_anew(&mut self) {
        if let Some(newest) = self.newest() {
            self.samples[0] = newest;
            (self.len, self.next) = (1, 1);
        }
    }

    fn newest(&self) -> Option<u32> {
        let newest = (usize::from(self.next) + WINDOW - 1) % WINDOW;
        (self.len > 0).then(|| self.samples[newest])
    }

    fn median_and_spread(&self) -> Option<(Duration, Duration)> {
        let mut sorted = self.samples;
        let sorted = &mut sorted[..usize::from(self.len)];
        let median = median(sorted)?;
        for sample in sorted.iter_mut() {
            *sample = sample.abs_diff(median);
        }
        let spread = median_of_filled(sorted);
        Some((micros(median), micros(spread)))
    }
}

fn median(samples: &mut [u32]) -> Option<u32> {
    (!samples.is_empty()).then(|| median_of_filled(samples))
}

/// The middle of `samples`, the lower one of two; they are not empty.
fn median_of_filled(samples: &mut [u32]) -> u32 {
    samples.sort_unstable();
    samples[(samples.len() - 1) / 2]
}

fn micros(micros: u32) -> Duration {
    Duration::from_micros(u64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn first_byte(millis: u64) -> Phases {
        Phases {
            first_byte: Some(Duration::from_millis(millis)),
            ..Phases::default()
        }
    }

    #[test]
    fn nothing_measured_is_unknown() {
        assert_eq!(LatencyEstimate::default().estimate(at(5)), None);
    }

    #[test]
    fn one_slow_answer_does_not_move_the_estimate() {
        let mut latency = LatencyEstimate::default();
        for (second, millis) in [40, 41, 900, 39, 40].into_iter().enumerate() {
            latency.observe(first_byte(millis), true, at(second as u64));
        }
        let estimate = latency.estimate(at(6)).unwrap();
        assert_eq!(estimate.median, Duration::from_millis(40));
        assert_eq!(estimate.spread, Duration::from_millis(1));
        assert_eq!(estimate.age, Duration::from_secs(2));
        assert_eq!(estimate.samples, 5);
    }

    #[test]
    fn a_lasting_change_replaces_the_estimate_within_half_a_window() {
        let mut latency = LatencyEstimate::default();
        for second in 0..11 {
            latency.observe(first_byte(10), true, at(second));
        }
        for second in 11..17 {
            latency.observe(first_byte(80), true, at(second));
        }
        assert_eq!(
            latency.estimate(at(17)).unwrap().median,
            Duration::from_millis(80)
        );
    }

    #[test]
    fn a_cold_first_byte_stands_in_until_a_warm_one_is_known() {
        let mut latency = LatencyEstimate::default();
        let cold = Phases {
            connect: Some(Duration::from_millis(30)),
            tls: Some(Duration::from_millis(31)),
            ..first_byte(35)
        };
        latency.observe(cold, false, at(1));
        let estimate = latency.estimate(at(1)).unwrap();
        assert_eq!(
            (estimate.median, estimate.warm),
            (Duration::from_millis(35), false)
        );
        latency.observe(first_byte(32), true, at(6));
        let estimate = latency.estimate(at(6)).unwrap();
        assert_eq!(
            (estimate.median, estimate.warm),
            (Duration::from_millis(32), true)
        );
        assert_eq!(latency.last().connect, Some(Duration::from_millis(30)));
        assert_eq!(latency.last().first_byte, Some(Duration::from_millis(32)));
    }

    #[test]
    fn an_estimate_older_than_a_minute_is_unknown() {
        let mut latency = LatencyEstimate::default();
        latency.observe(first_byte(10), true, at(0));
        assert!(latency.estimate(at(60)).is_some());
        assert_eq!(latency.estimate(at(61)), None);
        latency.observe(first_byte(50), true, at(100));
        let estimate = latency.estimate(at(100)).unwrap();
        assert_eq!(
            (estimate.median, estimate.samples),
            (Duration::from_millis(50), 1)
        );
    }
}
