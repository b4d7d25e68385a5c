//! Bodies that stand still, found by one sweep per worker instead of a timer per body.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How often a worker looks for stalled bodies: the precision of a limit of seconds.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The bodies of one worker that wait for bytes.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Rc<RefCell<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    deadline: Instant,
    waker: Waker,
}

impl Stalls {
    /// A watch over one body that may wait `limit` for its next bytes.
    #[must_use]
    pub fn watch(&self, limit: Duration) -> StallWatch {
        StallWatch {
            stalls: self.clone(),
            limit,
            waiting: None,
        }
    }

    /// Wakes every body that has waited too long by `now`.
    pub fn sweep(&self, now: Instant) {
        let waiting = self.0.borrow();
        for entry in waiting.entries.iter().flatten() {
            if entry.deadline <= now {
                entry.waker.wake_by_ref();
            }
        }
    }

    /// How many bodies wait for bytes now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let waiting = self.0.borrow();
        waiting.entries.len() - waiting.free.len()
    }
}

/// Watches one body.
#[derive(Debug)]
pub struct StallWatch {
    stalls: Stalls,
    limit: Duration,
    waiting: Option<usize>,
}

impl StallWatch {
    /// How long its body may wait.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// The body waits for bytes; whether it has waited for too long.
    pub fn pending(&mut self, cx: &Context<'_>) -> bool {
        let mut waiting = self.stalls.0.borrow_mut();
        if let Some(place) = self.waiting {
            let Some(entry) = waiting.entries.get_mut(place).and_then(Option::as_mut) else {
                return false;
            };
            entry.waker.clone_from(cx.waker());
            return entry.deadline <= Instant::now();
        }
        let entry = Entry {
            deadline: Instant::now() + self.limit,
            waker: cx.waker().clone(),
        };
        let place = match waiting.free.pop() {
            Some(place) => {
                waiting.entries[place] = Some(entry);
                place
            }
            None => {
                waiting.entries.push(Some(entry));
                waiting.entries.len() - 1
            }
        };
        self.waiting = Some(place);
        false
    }

    /// Bytes came, or the body ended.
    pub fn progressed(&mut self) {
        if let Some(place) = self.waiting.take() {
            let mut waiting = self.stalls.0.borrow_mut();
            waiting.entries[place] = None;
            waiting.free.push(place);
        }
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.progressed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_is_stalled_only_after_its_limit_without_bytes() {
        let stalls = Stalls::default();
        let mut watch = stalls.watch(Duration::from_secs(15));
        let cx = Context::from_waker(Waker::noop());
        assert!(!watch.pending(&cx));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(!watch.pending(&cx));
        watch.progressed();
        assert!(!watch.pending(&cx));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(watch.pending(&cx));
    }

    #[test]
    fn a_dropped_watch_leaves_nothing_behind() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let _entered = runtime.enter();
        let stalls = Stalls::default();
        let mut watch = stalls.watch(Duration::from_secs(1));
        watch.pending(&Context::from_waker(Waker::noop()));
        assert_eq!(stalls.waiting(), 1);
        drop(watch);
        assert_eq!(stalls.waiting(), 0);
    }
}
