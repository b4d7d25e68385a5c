//! Runs hyper's own tasks on the worker's thread.

use std::future::Future;

/// Spawns onto the current worker's single-threaded runtime.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
