//! When each request is due.

use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

/// Requests spread evenly over a time, numbered from 0; or one worker's share of them.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    rate: u64,
    /// The number of the next one.
    next: u64,
    /// From one number of this share to its next.
    step: u64,
    /// How many there are, all shares together.
    all: u64,
}

impl Arrivals {
    /// So many requests a second for so long.
    pub(super) fn new(rate: u32, length: Duration) -> Self {
        let all = (length.as_nanos() * u128::from(rate)).div_ceil(u128::from(NANOS));
        Self {
            rate: u64::from(rate.max(1)),
            next: 0,
            step: 1,
            all: u64::try_from(all).unwrap_or(u64::MAX),
        }
    }

    /// The share of worker `index` of `workers`: they take turns.
    pub(super) fn share(&self, index: u64, workers: u64) -> Self {
        Self {
            next: index,
            step: workers.max(1),
            ..self.clone()
        }
    }

    /// When the next one is due, counted from the start; `None` after the last.
    pub(super) fn next_due(&self) -> Option<Duration> {
        (self.next < self.all).then(|| self.due(self.next))
    }

    /// The next one, if it is due so long after the start, with its number and when it was due.
    pub(super) fn take_due(&mut self, elapsed: Duration) -> Option<(u64, Duration)> {
        let due = self.next_due().filter(|due| *due <= elapsed)?;
        let number = self.next;
        self.next += self.step;
        Some((number, due))
    }

    /// Computed anew for each, so that no rounding adds up.
    fn due(&self, number: u64) -> Duration {
        let within = (number % self.rate) * NANOS / self.rate;
        Duration::from_secs(number / self.rate) + Duration::from_nanos(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn requests_are_due_evenly_and_before_the_end() {
        let mut arrivals = Arrivals::new(500, MS * 9);
        let mut due = Vec::new();
        while let Some((_, at)) = arrivals.take_due(MS * 1000) {
            due.push(at);
        }
        assert_eq!(due, [Duration::ZERO, MS * 2, MS * 4, MS * 6, MS * 8]);
    }

    #[test]
    fn nothing_is_due_early_and_a_late_call_gets_all_that_was() {
        let mut arrivals = Arrivals::new(1000, MS * 10);
        assert_eq!(arrivals.take_due(Duration::ZERO), Some((0, Duration::ZERO)));
        assert_eq!(arrivals.take_due(MS - Duration::from_nanos(1)), None);
        assert_eq!(arrivals.next_due(), Some(MS));
        let late: Vec<u64> = std::iter::from_fn(|| arrivals.take_due(MS * 4))
            .map(|(number, _)| number)
            .collect();
        assert_eq!(late, [1, 2, 3, 4]);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut arrivals = Arrivals::new(30_000, Duration::from_secs(3600));
        arrivals.next = 30_000 * 3599;
        assert_eq!(arrivals.next_due(), Some(Duration::from_secs(3599)));
    }

    #[test]
    fn shares_together_are_the_whole() {
        let whole = Arrivals::new(100, Duration::from_secs(1));
        let mut numbers = Vec::new();
        for index in 0..3 {
            let mut share = whole.share(index, 3);
            while let Some((number, _)) = share.take_due(Duration::MAX) {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..100));
    }
}
