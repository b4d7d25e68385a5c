//! Breadth: over how many viewers, paths and moments something is spread.

use std::net::IpAddr;
use std::time::Duration;

use crate::model::time::Timestamp;

/// What fails within this time fails at one moment: it was in flight together, so that it is one
/// failure.
pub const MOMENT: Duration = Duration::from_millis(20);

/// Marks of viewers, paths and moments, one of 64 bits for each: enough to tell one from many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breadth {
    viewers: u64,
    paths: u64,
    moments: u64,
}

impl Breadth {
    /// Of one request: who asks, and for which path, without the query.
    #[must_use]
    pub fn of(viewer: IpAddr, path: &str) -> Self {
        Self {
            viewers: viewer_mark(viewer),
            paths: path_mark(path.as_bytes()),
            moments: 0,
        }
    }

    /// The same request, which failed at `now`.
    #[must_use]
    pub fn failed_at(self, now: Timestamp) -> Self {
        let moment = now.since_start().as_millis() / MOMENT.as_millis();
        Self {
            moments: 1 << (moment % 64),
            ..self
        }
    }

    /// Adds the marks of `other`.
    pub fn add(&mut self, other: Self) {
        self.viewers |= other.viewers;
        self.paths |= other.paths;
        self.moments |= other.moments;
    }

    /// Whether these failures befell at least `least` viewers and paths, or all that were `seen`, at
    /// `least` moments.
    #[must_use]
    pub fn is_broad(&self, seen: &Self, least: u32) -> bool {
        let enough = |failing: u64, seen: u64| {
            failing.count_ones() >= least.min((seen | failing).count_ones())
        };
        enough(self.viewers, seen.viewers)
            && enough(self.paths, seen.paths)
            && self.are_moments(least)
    }

    /// Whether these failures befell this percentage of the viewers and of the paths `seen`.
    #[must_use]
    pub fn covers(&self, seen: &Self, percent: u8) -> bool {
        let part = |failing: u64, seen: u64| {
            failing.count_ones() * 100 >= (seen | failing).count_ones() * u32::from(percent)
        };
        part(self.viewers, seen.viewers) && part(self.paths, seen.paths)
    }

    /// Whether more than half of the viewers `seen` are among these; of the paths at least half.
    #[must_use]
    pub fn is_most(&self, seen: &Self) -> bool {
        self.viewers.count_ones() * 2 > (seen.viewers | self.viewers).count_ones()
            && self.covers(seen, 50)
    }

    /// Whether these are mostly the same paths as the `other` ones, so that how long answers take can
    /// be compared.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let (both, any) = (self.paths & other.paths, self.paths | other.paths);
        both.count_ones() * 2 >= any.count_ones()
    }

    /// Whether there are so many moments among these.
    #[must_use]
    pub fn are_moments(&self, least: u32) -> bool {
        self.moments.count_ones() >= least
    }
}

fn viewer_mark(viewer: IpAddr) -> u64 {
    mark(match viewer {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    })
}

fn path_mark(path: &[u8]) -> u64 {
    let mut hash = path.len() as u64;
    let mut words = path.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    }
    for byte in words.remainder() {
        hash = (hash.rotate_left(8)) ^ u64::from(*byte);
    }
    mark(hash)
}

/// The golden ratio, by which Knuth's multiplicative hashing spreads neighbours.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

fn mark(value: u64) -> u64 {
    1 << (value.wrapping_mul(SPREAD) >> 58)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(viewers: impl Iterator<Item = u8>, path: impl Fn(u8) -> String) -> Breadth {
        let mut all = Breadth::default();
        for viewer in viewers {
            let millis = u64::from(viewer) * 25;
            let now = Timestamp::after_start(Duration::from_millis(millis));
            let address = IpAddr::from([203, 0, 113, viewer]);
            all.add(Breadth::of(address, &path(viewer)).failed_at(now));
        }
        all
    }

    #[test]
    fn many_viewers_and_paths_are_broad_and_one_of_many_is_not() {
        let seen = of(0..40, |viewer| format!("/page/{viewer}"));
        let object = of(50..51, |_| "/object".to_owned());
        assert!(!object.is_broad(&seen, 3) && !object.covers(&seen, 20));
        let some = of(0..12, |viewer| format!("/page/{viewer}"));
        assert!(some.is_broad(&seen, 3) && some.covers(&seen, 20) && !some.is_most(&seen));
        assert!(seen.is_most(&seen));
    }

    #[test]
    fn where_there_is_one_viewer_or_path_it_is_all_there_is() {
        let path = |_| "/graphql".to_owned();
        let one = of(std::iter::repeat_n(1, 1), path);
        assert!(one.is_broad(&one, 1) && one.covers(&one, 50) && one.is_most(&one));
        let two = of(0..2, path);
        assert!(!one.is_most(&two), "half is not most");
    }

    #[test]
    fn what_fails_at_one_moment_is_one_failure() {
        let now = Timestamp::after_start(Duration::from_secs(7));
        let mut together = Breadth::default();
        for viewer in 0..30 {
            let address = IpAddr::from([203, 0, 113, viewer]);
            let path = format!("/page/{viewer}");
            together.add(Breadth::of(address, &path).failed_at(now));
        }
        assert!(!together.is_broad(&together, 2) && together.is_broad(&together, 1));
    }
}
