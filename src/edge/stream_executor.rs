//! Where hyper runs the streams of one HTTP/2 connection.

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;

use crate::edge::connection_timeouts::ConnectionWatch;

/// Runs hyper's task of each stream on the worker's thread, until the stream is cut: then the
/// task is dropped, which resets the stream.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor(pub(super) Rc<ConnectionWatch>);

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        // hyper runs a stream right after its request began.
        let Some(stream) = self.0.streams().take_newest() else {
            tokio::task::spawn_local(future);
            return;
        };
        // In a box, or the task would have room for it twice and move it.
        let mut future = Box::pin(future);
        tokio::task::spawn_local(poll_fn(move |cx| {
            if stream.poll_cut(cx) {
                return Poll::Ready(());
            }
            future.as_mut().poll(cx).map(drop)
        }));
    }
}
