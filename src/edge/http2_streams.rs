//! The streams of one HTTP/2 connection, so that one which its viewer stops reading can be ended
//! without the others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// The streams of a connection that are under way.
#[derive(Debug, Default)]
pub struct Http2Streams {
    open: RefCell<Vec<Rc<Http2Stream>>>,
    /// The one whose request was just begun, until hyper runs it.
    newest: RefCell<Option<Rc<Http2Stream>>>,
}

/// One stream, from its request's head to its response's end.
#[derive(Debug, Default)]
pub struct Http2Stream {
    /// The response has bytes that the viewer's window has no room for.
    waits: Cell<bool>,
    /// Frames of the response so far.
    frames: Cell<u64>,
    /// Frames at the last look, and since when they are as many.
    seen: Cell<Option<(u64, Instant)>>,
    cut: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Http2Streams {
    /// A request begins on a stream of its own.
    #[must_use]
    pub fn begin(&self) -> Rc<Http2Stream> {
        let stream = Rc::new(Http2Stream::default());
        self.open.borrow_mut().push(Rc::clone(&stream));
        self.newest.replace(Some(Rc::clone(&stream)));
        stream
    }

    /// The stream whose request was just begun; it is given once.
    pub(super) fn take_newest(&self) -> Option<Rc<Http2Stream>> {
        self.newest.take()
    }

    /// The stream is over.
    pub fn end(&self, stream: &Rc<Http2Stream>) {
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

impl Http2Stream {
    /// hyper asks for the response's next frame: the viewer has room for it.
    pub fn asked(&self) {
        self.waits.set(false);
    }

    /// hyper has a frame, or the head, to pass on.
    pub fn gave(&self) {
        self.waits.set(true);
        self.frames.set(self.frames.get() + 1);
    }

    /// Whether it was cut; if not, its task is woken when it is.
    pub(super) fn poll_cut(&self, cx: &Context<'_>) -> bool {
        if self.cut.get() {
            return true;
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        false
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
