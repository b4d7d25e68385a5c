//! A turn of the runtime: time for answers that come at almost the same moment to meet, so that
//! they leave by one write.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Turns after which a connection goes on though more keeps coming: some 100 us of a busy worker.
const MOST_TURNS: u32 = 8;

/// Lets a connection of many streams go on a turn after it was woken: by then the runtime has
/// asked the kernel for what else came in, and has run whatever that woke. While each turn brings
/// more for it, it waits for the next one, within bounds. An idle runtime takes its turn at once, so
/// nothing waits for a clock.
#[derive(Debug, Default)]
pub struct Turn {
    next: Arc<NextTurn>,
    is_awaited: bool,
    /// It was woken again since the turn is awaited.
    brought_more: bool,
    turns: u32,
}

/// The beginning of the next turn. Only the connection's own thread uses it; a waker has to be safe
/// to send.
#[derive(Debug, Default)]
struct NextTurn {
    has_come: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Wake for NextTurn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_come.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }
}

impl Turn {
    /// Ready at the end of the turns after it was first asked.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.next.has_come.swap(false, Ordering::Relaxed) {
            self.turns += 1;
            if !std::mem::take(&mut self.brought_more) || self.turns >= MOST_TURNS {
                self.turns = 0;
                self.is_awaited = false;
                return Poll::Ready(());
            }
            self.await_next(cx);
        } else if self.is_awaited {
            self.brought_more = true;
        } else {
            self.is_awaited = true;
            self.await_next(cx);
        }
        Poll::Pending
    }

    fn await_next(&self, cx: &Context<'_>) {
        let mut waker = self
            .next
            .waker
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        let waker = Waker::from(Arc::clone(&self.next));
        // Of this future only its first step is of use: it has the runtime wake us after its turn.
        let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn what_others_do_in_the_same_turn_comes_first() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let local = tokio::task::LocalSet::new();
        let other = Rc::clone(&seen);
        local.spawn_local(async move { other.borrow_mut().push("other") });
        let ours = Rc::clone(&seen);
        let connection = async move {
            let mut turn = Turn::default();
            poll_fn(|cx| turn.poll(cx)).await;
            ours.borrow_mut().push("connection");
            poll_fn(|cx| turn.poll(cx)).await;
            ours.borrow_mut().push("again");
        };
        local.run_until(connection).await;
        assert_eq!(*seen.borrow(), ["other", "connection", "again"]);
    }
    #[tokio::test]
    async fn a_connection_waits_while_turns_bring_more_but_not_for_ever() {
        let woken = Rc::new(RefCell::new(None::<Waker>));
        let turns = Rc::new(Cell::new(0));
        let local = tokio::task::LocalSet::new();
        let counts = Rc::clone(&turns);
        local.spawn_local(async move {
            loop {
                counts.set(counts.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let wakes = Rc::clone(&woken);
        local.spawn_local(poll_fn(move |cx| {
            cx.waker().wake_by_ref();
            if let Some(waker) = &*wakes.borrow() {
                waker.wake_by_ref();
            }
            Poll::<()>::Pending
        }));
        let connection = local.spawn_local(async move {
            let mut turn = Turn::default();
            poll_fn(|cx| {
                woken.replace(Some(cx.waker().clone()));
                turn.poll(cx)
            })
            .await;
        });
        local.run_until(connection).await.unwrap();
        let most = MOST_TURNS + 2;
        assert!((3..=most).contains(&turns.get()), "{}", turns.get());
    }
}
