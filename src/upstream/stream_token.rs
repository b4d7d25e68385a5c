//! What an HTTP/2 connection and its streams know of each other.

use std::cell::Cell;
use std::rc::Rc;

/// Held by an HTTP/2 connection's place in the pool and by each of its streams, which are counted by
/// it.
#[derive(Clone, Debug, Default)]
pub struct StreamToken(Rc<ConnectionLife>);

#[derive(Debug, Default)]
struct ConnectionLife {
    served: Cell<bool>,
    draining: Cell<bool>,
}

impl StreamToken {
    /// How many streams there are.
    #[must_use]
    pub fn streams(&self) -> usize {
        // One is the pool's own.
        Rc::strong_count(&self.0) - 1
    }

    /// A stream was answered.
    pub fn served(&self) {
        self.0.served.set(true);
    }

    /// Whether any stream was answered.
    #[must_use]
    pub fn has_served(&self) -> bool {
        self.0.served.get()
    }

    /// The origin did not process a stream: the connection finishes those it has, and takes no more.
    pub fn drain(&self) {
        self.0.draining.set(true);
    }

    /// Whether the connection takes no more streams.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.get()
    }
}
