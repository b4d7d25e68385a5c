//! A connection to an origin that may say only so much before an answer begins.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::stream::counted::StreamMeter;

/// How many bytes may still be read. HTTP/1.1 allows any number of interim answers before the
/// final one (RFC 9110 section 15.2); an origin that never ends them would keep its worker busy.
///
/// Used by one thread; atomic because hyper wants to send upgraded streams between threads.
#[derive(Clone, Debug)]
pub struct ReadAllowance(Arc<AtomicUsize>);

impl Default for ReadAllowance {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(usize::MAX)))
    }
}

impl ReadAllowance {
    /// From now on this many bytes may be read.
    pub fn allow(&self, bytes: usize) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// An answer has begun; what follows is read as its taker wants it.
    pub fn answered(&self) {
        self.allow(usize::MAX);
    }

    /// Counts bytes that were read.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.load(Ordering::Relaxed);
        if left == usize::MAX {
            return Ok(());
        }
        if bytes > left {
            return Err(io::Error::other("too much came before an answer"));
        }
        self.0.store(left - bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl<T> StreamMeter<T> for ReadAllowance {
    fn read(&self, count: usize, _is_end: bool) -> io::Result<()> {
        self.count(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_an_answer_is_limited() {
        let meter = ReadAllowance::default();
        assert!(meter.count(1 << 40).is_ok());
        meter.allow(10);
        assert!(meter.count(6).is_ok());
        meter.answered();
        assert!(meter.count(100).is_ok());
        meter.allow(10);
        assert!(meter.count(6).is_ok());
        assert!(meter.count(6).is_err());
    }
}
