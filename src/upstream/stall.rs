//! Bodies that stand still, found by one sweep per worker instead of a timer per body.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

/// How often a worker looks for stalled bodies: the precision of a limit of seconds.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The bodies of one worker that wait for bytes.
#[derive(Clone, Debug, Default)]
pub struct Stalls(Rc<RefCell<Slab<WaitingBody>>>);

#[derive(Debug)]
struct WaitingBody {
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
        for (_, body) in self.0.borrow().iter() {
            if body.deadline <= now {
                body.waker.wake_by_ref();
            }
        }
    }

    /// How many bodies wait for bytes now.
    #[cfg(test)]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.borrow().len()
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
        if let Some(key) = self.waiting {
            let Some(body) = waiting.get_mut(key) else {
                return false;
            };
            body.waker.clone_from(cx.waker());
            return body.deadline <= Instant::now();
        }
        let key = waiting.insert(WaitingBody {
            deadline: Instant::now() + self.limit,
            waker: cx.waker().clone(),
        });
        self.waiting = Some(key);
        false
    }

    /// Bytes came, or the body ended.
    pub fn progressed(&mut self) {
        if let Some(key) = self.waiting.take() {
            self.stalls.0.borrow_mut().try_remove(key);
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
