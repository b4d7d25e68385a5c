//! What is published, as one worker sees it.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::board::{Board, Live, LiveCache};
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::id::RegionSet;
use meridian_core::outlier::OutlierDetector;

/// What is published, held by one request to its end. Counted per worker, so that workers do not
/// meet at one counter.
#[derive(Clone, Debug)]
#[expect(
    clippy::redundant_allocation,
    reason = "the outer count is the worker's own"
)]
pub struct LiveRef(Rc<Arc<Live>>);

impl Deref for LiveRef {
    type Target = Live;

    fn deref(&self) -> &Live {
        &self.0
    }
}

/// The newest of what is published. What was usual of a region is forgotten when it returns: it
/// need not be usual any more.
#[derive(Debug)]
pub(super) struct LiveView {
    newest: RefCell<Newest>,
    detector: Rc<OutlierDetector>,
}

#[derive(Debug)]
struct Newest {
    cache: LiveCache,
    held: LiveRef,
}

impl LiveView {
    pub(super) fn new(board: &Board, detector: Rc<OutlierDetector>) -> Self {
        let mut cache = board.cache();
        let held = LiveRef(Rc::new(Arc::clone(cache.load())));
        detector.follow_policy(held.snapshot.table.traffic);
        Self {
            newest: RefCell::new(Newest { cache, held }),
            detector,
        }
    }

    /// What is published now.
    pub(super) fn load(&self) -> LiveRef {
        let Newest { cache, held } = &mut *self.newest.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(newest, &held.0) {
            self.detector
                .forget(returning(&held.snapshot, &newest.snapshot));
            self.detector.follow_policy(newest.snapshot.table.traffic);
            *held = LiveRef(Rc::new(Arc::clone(newest)));
        }
        held.clone()
    }
}

/// Regions that get requests again, be it a few that try them.
fn returning(before: &Snapshot, now: &Snapshot) -> RegionSet {
    let asked = |snapshot: &Snapshot| snapshot.serving.or(snapshot.probation);
    if before.generation == now.generation {
        asked(now).without(asked(before))
    } else {
        RegionSet::EMPTY
    }
}
