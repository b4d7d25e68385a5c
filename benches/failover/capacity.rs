//! A server that can do only so much.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A longer queue than this is refused.
const QUEUE: Duration = Duration::from_millis(300);

/// When a server that does one request after the other will have done all that it took in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capacity(Arc<Mutex<Option<Instant>>>);

impl Capacity {
    /// Takes in one of `rate` requests a second: how long it waits for its turn. `None` when the
    /// queue is full.
    pub(crate) fn admit(&self, rate: u32) -> Option<Duration> {
        let now = Instant::now();
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = free.map_or(now, |free| free.max(now));
        let wait = turn - now;
        (wait <= QUEUE).then(|| {
            *free = Some(turn + Duration::from_secs(1) / rate);
            wait
        })
    }
}
