//! What happened in a row at one endpoint.

use std::time::Duration;

use crate::health::breadth::{Breadth, MOMENT};
use crate::model::id::EndpointId;
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;

/// What happened in a row at one endpoint, as one worker saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndpointStreak {
    generation: u32,
    /// Failures that another endpoint did better with.
    failures: Failures,
    /// Answers that were late where another one was faster.
    lates: Lates,
    /// Late answers that nothing was compared with. Reads that go well say nothing of writes.
    late_reads: Lates,
    late_writes: Lates,
    /// Failures that could not be compared.
    inconclusive: u32,
    /// Among the failures or lates was a body: a head that comes in time clears nothing then.
    had_bad_body: bool,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures {
    /// Those in flight at one moment count as one.
    pub(super) in_a_row: u32,
    /// Whose, of what, and when.
    pub(super) breadth: Breadth,
    /// The last one that counted.
    last: Timestamp,
}

/// Late answers in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lates {
    pub(super) in_a_row: u32,
    /// Whose, and of what.
    pub(super) breadth: Breadth,
    /// Whether answers came meanwhile, late as they were.
    pub(super) answered: bool,
    since: Timestamp,
    told: Timestamp,
}

/// What lasts is told again so often: whether it counts depends on what probes of others find.
const TELL_EVERY: Duration = Duration::from_millis(100);

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

    /// A good answer came, late; so late that it is as good as none unless `is_some`.
    pub(super) fn answered_late(&mut self, is_some: bool) {
        self.failures = Failures::default();
        self.lates.answered |= is_some;
        self.late_reads.answered |= is_some;
    }

    /// A late answer came, and what was asked beside it did no better.
    pub(super) fn acquitted(&mut self) {
        self.failures = Failures::default();
        self.lates = Lates::default();
        self.late_reads = Lates::default();
    }

    /// A body that came after a good head is here to its last byte.
    pub(super) fn body_ended(&mut self) {
        if self.had_bad_body {
            self.clear();
        }
    }

    /// A write was answered well.
    pub(super) fn written(&mut self) {
        self.late_writes = Lates::default();
    }

    /// The body of an answer that was counted as good broke off.
    pub(super) fn body_broke(&mut self) {
        self.had_bad_body = true;
    }

    /// Another failure that another endpoint did better with; gives what that makes if it is more
    /// than before.
    pub(super) fn failed(
        &mut self,
        kind: ErrorKind,
        mark: Breadth,
        now: Timestamp,
    ) -> Option<Failures> {
        self.had_bad_body |= kind == ErrorKind::BodyBroken;
        let failures = &mut self.failures;
        failures.breadth.add(mark.failed_at(now));
        if failures.in_a_row > 0 && now.since(failures.last) < MOMENT {
            return None;
        }
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        failures.last = now;
        Some(*failures)
    }

    /// Another answer that was late where another one was faster; gives what that makes.
    pub(super) fn late(&mut self, body: bool, mark: Breadth, now: Timestamp) -> &mut Lates {
        self.had_bad_body |= body;
        self.lates.add(mark, now)
    }

    /// Another late answer that nothing was compared with; gives what that makes.
    pub(super) fn late_uncompared(
        &mut self,
        write: bool,
        mark: Breadth,
        now: Timestamp,
    ) -> &mut Lates {
        let lates = match write {
            true => &mut self.late_writes,
            false => &mut self.late_reads,
        };
        lates.add(mark, now)
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

impl Lates {
    fn add(&mut self, mark: Breadth, now: Timestamp) -> &mut Self {
        if self.in_a_row == 0 {
            self.since = now;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.breadth.add(mark);
        self
    }

    /// How long they have lasted.
    pub(super) fn lasted(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// Whether to tell of so many that lasted so long now.
    pub(super) fn is_to_be_told(&mut self, least: u32, lasted: Duration, now: Timestamp) -> bool {
        let is_due = self.in_a_row >= least
            && self.lasted(now) >= lasted
            && now.since(self.told) >= TELL_EVERY;
        if is_due {
            self.told = now;
        }
        is_due
    }
}
