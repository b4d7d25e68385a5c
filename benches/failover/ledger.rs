//! What the regions together did with which request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Notes of all regions of a cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    /// How often each write was executed.
    writes: BTreeMap<u64, u32>,
    /// How often each request whose way is noted reached each region.
    ways: BTreeMap<u64, [usize; 3]>,
}

impl Ledger {
    /// A write was executed.
    pub(crate) fn executed(&self, write: u64) {
        *self.notes().writes.entry(write).or_default() += 1;
    }

    /// A request whose way is noted came to `region`.
    pub(crate) fn reached(&self, request: u64, region: usize) {
        self.notes().ways.entry(request).or_default()[region] += 1;
    }

    /// Writes that were executed more than once.
    pub(crate) fn executed_twice(&self) -> usize {
        let notes = self.notes();
        notes.writes.values().filter(|times| **times > 1).count()
    }

    /// Requests whose way is noted that have come to any region.
    pub(crate) fn arrived(&self) -> usize {
        self.notes().ways.len()
    }

    /// How often this request came to each region.
    pub(crate) fn way(&self, request: u64) -> [usize; 3] {
        self.notes().ways.get(&request).copied().unwrap_or_default()
    }

    /// How often each region was asked by such a request that had reached the first too.
    pub(crate) fn asked_again(&self) -> [usize; 3] {
        let mut sums = [0; 3];
        let notes = self.notes();
        for [near, next, far] in notes.ways.values().filter(|reached| reached[0] > 0) {
            sums[0] += near - 1;
            sums[1] += next;
            sums[2] += far;
        }
        sums
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
