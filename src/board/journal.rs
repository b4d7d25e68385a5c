//! What changed: kept for those who ask later, and told to those who listen.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use meridian_core::change::Change;
use tokio::sync::watch;

/// Changes kept. An incident that moves every region of a large table has some hundred.
pub const HISTORY: usize = 1024;

/// A change, as it was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedChange {
    /// Counts the changes of this process, from 1.
    pub sequence: u64,
    /// When, by the wall's clock.
    pub at: SystemTime,
    /// The revision that first shows it.
    pub revision: u64,
    /// What kind of evidence led to it: the event's label.
    pub evidence: &'static str,
    /// What.
    pub change: Change,
}

/// The newest changes, numbered. Those that are dropped for newer ones are known by their number.
#[derive(Debug)]
pub struct Journal {
    past: Arc<Mutex<VecDeque<Arc<TimedChange>>>>,
    /// The number of the newest; 0 before the first.
    newest: watch::Sender<u64>,
}

/// Some of what a [`Journal`] has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The changes that were asked for, the oldest first.
    pub changes: Vec<Arc<TimedChange>>,
    /// The number of the oldest that is kept; what is before it was dropped.
    pub oldest: u64,
    /// The number of the newest; 0 before the first.
    pub newest: u64,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            past: Arc::default(),
            newest: watch::Sender::new(0),
        }
    }
}

impl Journal {
    /// Keeps a change, in place of the oldest one where there are [`HISTORY`] already.
    pub fn keep(&self, at: SystemTime, revision: u64, evidence: &'static str, change: Change) {
        let mut past = lock(&self.past);
        let sequence = *self.newest.borrow() + 1;
        if past.len() == HISTORY {
            past.pop_front();
        }
        past.push_back(Arc::new(TimedChange {
            sequence,
            at,
            revision,
            evidence,
            change,
        }));
        // Under the lock, so that numbers grow for every listener.
        self.newest.send_replace(sequence);
    }

    /// The changes after the one numbered `sequence`. All of them if there was none with that number
    /// yet: whoever knows it has it from an earlier process.
    #[must_use]
    pub fn since(&self, sequence: u64) -> History {
        let past = lock(&self.past);
        let newest = past.back().map_or(0, |last| last.sequence);
        let known = if sequence > newest { 0 } else { sequence };
        History {
            changes: after(&past, known).cloned().collect(),
            oldest: past.front().map_or(newest + 1, |first| first.sequence),
            newest,
        }
    }

    /// How many changes were dropped for newer ones.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let past = lock(&self.past);
        past.front().map_or(0, |first| first.sequence - 1)
    }

    /// A listener that hears the changes after the one numbered `sequence`, as [`since`](Self::since)
    /// gives them, and those to come.
    #[must_use]
    pub fn follow(&self, sequence: u64) -> Follower {
        let newest = self.newest.subscribe();
        let known = if sequence > *newest.borrow() {
            0
        } else {
            sequence
        };
        Follower {
            past: Arc::clone(&self.past),
            newest,
            heard: known,
        }
    }

    /// A listener that hears only the changes to come.
    #[must_use]
    pub fn listen(&self) -> Follower {
        self.follow(*self.newest.borrow())
    }
}

/// Hears changes, each once. One that falls behind by more than [`HISTORY`] misses some, which the
/// numbers show.
#[derive(Debug)]
pub struct Follower {
    past: Arc<Mutex<VecDeque<Arc<TimedChange>>>>,
    newest: watch::Receiver<u64>,
    heard: u64,
}

impl Follower {
    /// The number of the last change it heard.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The next change; `None` when there will be none any more. Nothing is lost when it is
    /// dropped while it waits.
    pub async fn next(&mut self) -> Option<Arc<TimedChange>> {
        let heard = self.heard;
        self.newest.wait_for(|newest| *newest > heard).await.ok()?;
        let next = after(&lock(&self.past), heard).next().cloned()?;
        self.heard = next.sequence;
        Some(next)
    }
}

/// What of `past` comes after `sequence`: numbers are without a gap.
fn after(
    past: &VecDeque<Arc<TimedChange>>,
    sequence: u64,
) -> impl Iterator<Item = &Arc<TimedChange>> {
    let known = past.partition_point(|entry| entry.sequence <= sequence);
    past.range(known..)
}

fn lock(past: &Mutex<VecDeque<Arc<TimedChange>>>) -> MutexGuard<'_, VecDeque<Arc<TimedChange>>> {
    past.lock().unwrap_or_else(PoisonError::into_inner)
}
