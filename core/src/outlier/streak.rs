//! What happened in a row at one endpoint.

use std::net::IpAddr;

use crate::health::traffic_count::viewer_mark;
use crate::model::id::EndpointId;
use crate::model::outcome::ErrorKind;

/// What happened in a row at one endpoint, as one worker saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndpointStreak {
    generation: u32,
    failures: u32,
    lates: u32,
    /// Late answers in a row that nothing was compared with. Reads that go well say nothing of
    /// writes.
    late_reads: UncomparedLates,
    late_writes: UncomparedLates,
    /// Failures that could not be compared.
    inconclusive: u32,
    /// Among the failures or lates was a body: a head that comes in time clears nothing then.
    had_bad_body: bool,
}

/// Late answers in a row that nothing was compared with, and whose they were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UncomparedLates {
    pub(super) in_a_row: u32,
    /// One of 64 bits for each viewer.
    pub(super) viewers: u64,
}

impl EndpointStreak {
    /// The streak of `endpoint` among `all`: a new one where the slot had another endpoint before.
    pub(super) fn of(all: &mut Vec<Self>, endpoint: EndpointId) -> &mut Self {
        if all.len() <= endpoint.index() {
            all.resize_with(endpoint.index() + 1, Self::default);
        }
        let streak = &mut all[endpoint.index()];
        if streak.generation != endpoint.generation {
            *streak = Self {
                generation: endpoint.generation,
                ..Self::default()
            };
        }
        streak
    }

    /// A good answer came; `whole` says whether its body is here to the last byte.
    pub(super) fn answered(&mut self, whole: bool) {
        if whole || !self.had_bad_body {
            self.clear();
        }
    }

    /// A body that came after a good head is here to its last byte.
    pub(super) fn body_ended(&mut self) {
        if self.had_bad_body {
            self.clear();
        }
    }

    /// A write was answered well.
    pub(super) fn written(&mut self) {
        self.late_writes = UncomparedLates::default();
    }

    /// The body of an answer that was counted as good broke off.
    pub(super) fn body_broke(&mut self) {
        self.had_bad_body = true;
    }

    /// Another failure that another endpoint did better with; gives how many that makes.
    pub(super) fn failed(&mut self, kind: ErrorKind) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.had_bad_body |= kind == ErrorKind::BodyBroken;
        self.failures
    }

    /// Another answer that was late where another one was faster; gives how many that makes.
    pub(super) fn late(&mut self, body: bool) -> u32 {
        self.lates = self.lates.saturating_add(1);
        self.had_bad_body |= body;
        self.lates
    }

    /// Another late answer that nothing was compared with; gives how many that makes, and whose.
    pub(super) fn late_uncompared(&mut self, viewer: IpAddr, write: bool) -> UncomparedLates {
        let lates = if write {
            &mut self.late_writes
        } else {
            &mut self.late_reads
        };
        lates.in_a_row = lates.in_a_row.saturating_add(1);
        lates.viewers |= viewer_mark(viewer);
        *lates
    }

    /// Another failure that proves nothing; gives how many that makes.
    pub(super) fn inconclusive(&mut self) -> u32 {
        self.inconclusive = self.inconclusive.saturating_add(1);
        self.inconclusive
    }

    fn clear(&mut self) {
        *self = Self {
            generation: self.generation,
            late_writes: self.late_writes,
            ..Self::default()
        };
    }
}
