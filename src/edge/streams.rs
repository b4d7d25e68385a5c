//! The streams of one HTTP/2 connection, so that one which its viewer stops reading can be ended
//! without the others.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::watched::Watch;

/// The streams of a connection that are under way.
#[derive(Debug, Default)]
pub struct Streams {
    open: RefCell<Vec<Rc<Stream>>>,
    /// The one whose request was just begun, until hyper runs it.
    newest: RefCell<Option<Rc<Stream>>>,
}

/// One stream, from its request's head to its response's end.
#[derive(Debug, Default)]
pub struct Stream {
    /// The response has bytes that the viewer's window has no room for.
    waits: Cell<bool>,
    /// Frames of the response so far.
    frames: Cell<u64>,
    /// Frames at the last look, and since when they are as many.
    seen: Cell<Option<(u64, Instant)>>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Streams {
    /// A request begins on a stream of its own.
    #[must_use]
    pub fn begin(&self) -> Rc<Stream> {
        let stream = Rc::new(Stream::default());
        self.open.borrow_mut().push(Rc::clone(&stream));
        self.newest.replace(Some(Rc::clone(&stream)));
        stream
    }

    /// The stream is over.
    pub fn end(&self, stream: &Rc<Stream>) {
        let mut open = self.open.borrow_mut();
        if let Some(place) = open.iter().position(|other| Rc::ptr_eq(other, stream)) {
            open.swap_remove(place);
        }
    }

    /// Cuts every stream whose viewer has taken nothing for `limit`.
    pub fn sweep(&self, now: Instant, limit: Duration) {
        for stream in self.open.borrow().iter() {
            stream.look(now, limit);
        }
    }
}

impl Stream {
    /// hyper asks for the response's next frame: the viewer has room for it.
    pub fn asked(&self) {
        self.waits.set(false);
    }

    /// hyper has a frame, or the head, to pass on.
    pub fn gave(&self) {
        self.waits.set(true);
        self.frames.set(self.frames.get() + 1);
    }

    fn look(&self, now: Instant, limit: Duration) {
        let frames = self.frames.get();
        match self.seen.get().filter(|_| self.waits.get()) {
            Some((before, since)) if before == frames => {
                if now - since >= limit {
                    self.cut.set(true);
                    if let Some(waker) = self.waker.take() {
                        waker.wake();
                    }
                }
            }
            _ => self.seen.set(Some((frames, now))),
        }
    }
}

/// Runs hyper's task of each stream on the worker's thread, until the stream is cut: then the
/// task is dropped, which resets the stream.
#[derive(Clone, Debug)]
pub struct StreamExecutor(pub Rc<Watch>);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        // hyper runs a stream right after its request began.
        let Some(stream) = self.0.streams().newest.take() else {
            tokio::task::spawn_local(future);
            return;
        };
        // In a box, or the task would have room for it twice and move it.
        let mut future = Box::pin(future);
        tokio::task::spawn_local(poll_fn(move |cx| {
            if stream.cut.get() {
                return Poll::Ready(());
            }
            let mut waker = stream.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            future.as_mut().poll(cx).map(drop)
        }));
    }
}
