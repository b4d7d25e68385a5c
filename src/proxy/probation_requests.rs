//! Which of a worker's requests are spent on regions that have to prove themselves.

use std::cell::{Cell, RefCell};

use crate::clock::Clock;
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::time::Timestamp;

/// When a request was last spent on probation, and whether it still is: one at a time, or all that
/// came before the first was found late would be late too.
#[derive(Debug, Default)]
pub(super) struct ProbationRequests {
    last: Cell<Timestamp>,
    is_under_way: Cell<bool>,
    random: RefCell<fastrand::Rng>,
}

/// A request that is spent on probation, until this is dropped, however that comes about.
pub(super) struct ProbationRequest<'a>(&'a Cell<bool>);

impl ProbationRequests {
    /// Whether a safe request may be spent on finding out whether an endpoint serves again: one in
    /// an interval, and never more than one in a few.
    pub(super) fn may_spend_one(&self, snapshot: &Snapshot, clock: &Clock) -> bool {
        if snapshot.probation.is_empty() || self.is_under_way.get() {
            return false;
        }
        let policy = &snapshot.table.traffic.probation;
        let is_due = clock.now().since(self.last.get()) >= policy.interval;
        is_due && self.random.borrow_mut().u32(..policy.one_in.max(1)) == 0
    }

    /// A request is spent on it.
    pub(super) fn begin(&self, now: Timestamp) -> ProbationRequest<'_> {
        self.last.set(now);
        self.is_under_way.set(true);
        ProbationRequest(&self.is_under_way)
    }
}

impl Drop for ProbationRequest<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}
