//! Which endpoints of a region fail, so that one ill endpoint is told from an ill region.

use crate::model::id::EndpointId;

/// Failures are confined where each endpoint with a failure has at least so many of them on average:
/// what is spread thinner befalls the region, whichever endpoints it happened to meet.
const FAILURES_EACH: u32 = 3;

/// Marks of endpoints, one of 64 bits for each by its slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointMarks {
    asked: u64,
    failed: u64,
    /// More than one failure: one alone may be anything.
    failed_again: u64,
}

impl EndpointMarks {
    /// An attempt at `endpoint` ended.
    pub fn asked(&mut self, endpoint: EndpointId) {
        self.asked |= mark(endpoint);
    }

    /// It failed.
    pub fn failed(&mut self, endpoint: EndpointId) {
        self.failed_again |= self.failed & mark(endpoint);
        self.failed |= mark(endpoint);
    }

    /// Adds the marks of `other`.
    pub fn add(&mut self, other: Self) {
        self.asked |= other.asked;
        self.failed_again |= other.failed_again | (self.failed & other.failed);
        self.failed |= other.failed;
    }

    /// Adds those that `other` asked.
    pub fn add_asked(&mut self, other: Self) {
        self.asked |= other.asked;
    }

    /// Whether so many failures come from a few endpoints: no more than half of those that were
    /// asked, since fewer than half that are well could not carry what the region does.
    #[must_use]
    pub fn are_confined(&self, failures: u32) -> bool {
        let ill = self.failed_again.count_ones();
        let is_concentrated = self.failed.count_ones() * FAILURES_EACH <= failures;
        ill > 0 && is_concentrated && ill * 2 <= self.asked.count_ones()
    }

    /// Whether `endpoint` failed more than once.
    #[must_use]
    pub fn is_ill(&self, endpoint: EndpointId) -> bool {
        self.failed_again & mark(endpoint) != 0
    }
}

fn mark(endpoint: EndpointId) -> u64 {
    1 << (endpoint.slot % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(slot: u32) -> EndpointId {
        EndpointId {
            slot,
            generation: 0,
        }
    }

    /// Marks of so many endpoints that were asked, and of failures at these.
    fn marks(asked: u32, failures: impl IntoIterator<Item = u32>) -> EndpointMarks {
        let mut marks = EndpointMarks::default();
        (0..asked).for_each(|slot| marks.asked(endpoint(slot)));
        for slot in failures {
            // As of several workers.
            let mut one = EndpointMarks::default();
            one.failed(endpoint(slot));
            marks.add(one);
        }
        marks
    }

    #[test]
    fn failures_of_one_endpoint_of_three_are_confined_to_it() {
        let marks = marks(3, [1; 10]);
        assert!(marks.are_confined(10) && marks.is_ill(endpoint(1)));
        assert!(!marks.is_ill(endpoint(0)) && !marks.is_ill(endpoint(2)));
    }

    #[test]
    fn a_stray_failure_makes_no_other_endpoint_ill() {
        let marks = marks(3, [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]);
        assert!(marks.are_confined(10) && !marks.is_ill(endpoint(0)));
    }

    #[test]
    fn failures_of_most_endpoints_are_the_regions() {
        assert!(!marks(3, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).are_confined(10));
        assert!(!marks(1, [0; 10]).are_confined(10), "it is all there is");
    }

    #[test]
    fn failures_here_and_there_among_many_endpoints_are_the_regions() {
        let here_and_there = [3, 9, 14, 3, 1, 17, 6, 11, 8, 14];
        assert!(!marks(20, here_and_there).are_confined(10));
        assert!(marks(20, [3; 10]).are_confined(10));
    }
}
