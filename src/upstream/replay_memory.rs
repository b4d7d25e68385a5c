//! The memory that a worker may spend on bodies that could be sent again.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that a worker keeps for replay, all requests together.
#[derive(Clone, Debug)]
pub struct ReplayMemory(Rc<Memory>);

#[derive(Debug)]
struct Memory {
    used: Cell<usize>,
    /// Of one request.
    per_request: Cell<usize>,
    /// Of all requests of the worker.
    total: Cell<usize>,
}

impl ReplayMemory {
    /// Room for `per_request` bytes of one request and `total` of all of a worker's.
    #[must_use]
    pub fn new(per_request: usize, total: usize) -> Self {
        Self(Rc::new(Memory {
            used: Cell::new(0),
            per_request: Cell::new(per_request),
            total: Cell::new(total),
        }))
    }

    /// From now on keeps these bounds.
    pub fn follow_limits(&self, per_request: usize, total: usize) {
        self.0.per_request.set(per_request);
        self.0.total.set(total);
    }

    /// Takes room for `more` bytes of a request that keeps `kept` already, if there is room.
    pub(super) fn take(&self, kept: usize, more: usize) -> bool {
        let used = self.0.used.get() + more;
        let fits = kept + more <= self.0.per_request.get() && used <= self.0.total.get();
        if fits {
            self.0.used.set(used);
        }
        fits
    }

    /// What one request may keep.
    pub(super) fn per_request(&self) -> usize {
        self.0.per_request.get()
    }

    /// Room that a request took is free again.
    pub(super) fn give_back(&self, bytes: usize) {
        self.0.used.set(self.0.used.get().saturating_sub(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_charged_for_what_is_held_and_given_back_whole() {
        let memory = ReplayMemory::new(100, 150);
        assert!(memory.take(0, 80));
        assert!(!memory.take(80, 21), "more than one request may keep");
        assert!(!memory.take(0, 71), "more than all may keep");
        assert!(memory.take(80, 20));
        memory.give_back(100);
        assert!(memory.take(0, 100));
        assert_eq!(memory.0.used.get(), 100);
    }
}
