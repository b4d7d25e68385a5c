//! An endpoint's latency in a form that outlives the process: moments become ages.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::latency::{LatencyEstimate, MAX_AGE, WINDOW, Window};
use crate::model::time::Timestamp;

/// The samples of a [`LatencyEstimate`], and how old they were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLatency {
    /// On reused connections.
    #[serde(default, skip_serializing_if = "SavedWindow::is_empty")]
    warm: SavedWindow,
    /// On fresh ones.
    #[serde(default, skip_serializing_if = "SavedWindow::is_empty")]
    cold: SavedWindow,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SavedWindow {
    /// The oldest first, in microseconds.
    samples_us: Vec<u32>,
    /// Since the newest one, or since they began to stand in.
    age_ms: u64,
    /// Whether they stood in for newer ones already, after a restart before.
    #[serde(default, skip_serializing_if = "is_false")]
    stood_in: bool,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl SavedWindow {
    fn is_empty(&self) -> bool {
        self.samples_us.is_empty()
    }
}

impl SavedLatency {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.warm.is_empty() && self.cold.is_empty()
    }

    /// The estimate that goes on at `now`, after nobody measured for as long as `away`.
    ///
    /// What counted when it was written down and is too old by then stands in until the first
    /// sample comes, so that regions are tried in the order they had rather than by name.
    #[must_use]
    pub fn restore(&self, away: Duration, now: Timestamp) -> LatencyEstimate {
        LatencyEstimate {
            warm: self.warm.restore(away, now),
            cold: self.cold.restore(away, now),
            ..LatencyEstimate::default()
        }
    }
}

impl LatencyEstimate {
    /// What is worth keeping at `now`.
    #[must_use]
    pub fn save(&self, now: Timestamp) -> SavedLatency {
        SavedLatency {
            warm: self.warm.save(now),
            cold: self.cold.save(now),
        }
    }
}

impl Window {
    fn save(&self, now: Timestamp) -> SavedWindow {
        if self.len == 0 {
            return SavedWindow::default();
        }
        let len = usize::from(self.len);
        let oldest = (usize::from(self.next) + WINDOW - len) % WINDOW;
        let samples = (0..len).map(|at| self.samples[(oldest + at) % WINDOW]);
        SavedWindow {
            samples_us: samples.collect(),
            age_ms: u64::try_from(now.since(self.updated).as_millis()).unwrap_or(u64::MAX),
            stood_in: self.stands_in,
        }
    }
}

impl SavedWindow {
    fn restore(&self, away: Duration, now: Timestamp) -> Window {
        let mut window = Window::default();
        if Duration::from_millis(self.age_ms) > MAX_AGE {
            // It did not count any more when it was written down.
            return window;
        }
        let newest = self.samples_us.len().saturating_sub(WINDOW);
        let samples = self.samples_us.iter().skip(newest);
        for (place, sample) in window.samples.iter_mut().zip(samples) {
            *place = *sample;
            window.len += 1;
        }
        window.next = window.len % WINDOW as u8;
        let age = Duration::from_millis(self.age_ms).saturating_add(away);
        window.stands_in = window.len > 0 && (self.stood_in || age > MAX_AGE);
        window.updated = if window.stands_in { now } else { now - age };
        window
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Phases;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn observe(latency: &mut LatencyEstimate, millis: u64, warm: bool, second: u64) {
        let phases = Phases {
            first_byte: Some(Duration::from_millis(millis)),
            ..Phases::default()
        };
        latency.observe(phases, warm, at(second));
    }

    fn measured() -> LatencyEstimate {
        let mut latency = LatencyEstimate::default();
        for second in 0..15 {
            observe(&mut latency, 40 + second % 3, true, second);
        }
        latency
    }

    #[test]
    fn a_young_estimate_goes_on_with_its_samples_and_its_age() {
        let saved = measured().save(at(20));
        let restored = saved.restore(Duration::from_secs(10), at(1));
        let estimate = restored.estimate(at(1)).unwrap();
        assert_eq!(estimate.median, Duration::from_millis(41));
        assert_eq!(estimate.age, Duration::from_secs(16));
        assert_eq!(estimate.samples, WINDOW);
        assert_eq!(restored.save(at(1)).warm.samples_us, saved.warm.samples_us);
    }

    #[test]
    fn an_old_estimate_gives_way_to_the_first_sample() {
        let saved = measured().save(at(20));
        for warm in [true, false] {
            let mut restored = saved.restore(Duration::from_secs(3600), at(1));
            let before = restored.estimate(at(2)).unwrap();
            assert_eq!(before.median, Duration::from_millis(41));
            let twice = restored.save(at(2)).restore(Duration::ZERO, at(2));
            assert!(twice.warm.stands_in);
            observe(&mut restored, 90, warm, 3);
            let after = restored.estimate(at(3)).unwrap();
            assert_eq!((after.samples, after.warm), (1, warm));
            assert_eq!(after.median, Duration::from_millis(90));
        }
    }

    #[test]
    fn what_did_not_count_any_more_does_not_come_back() {
        let saved = measured().save(at(15 + MAX_AGE.as_secs()));
        let restored = saved.restore(Duration::ZERO, at(1));
        assert_eq!(restored.estimate(at(1)), None);
    }

    #[test]
    fn more_samples_than_a_window_holds_leave_the_newest() {
        let saved = SavedLatency {
            warm: SavedWindow {
                samples_us: (0..100).collect(),
                age_ms: 1,
                stood_in: false,
            },
            ..SavedLatency::default()
        };
        let restored = saved.restore(Duration::MAX, at(1));
        assert_eq!(
            restored.save(at(1)).warm.samples_us,
            Vec::from_iter(89..100)
        );
    }
}
