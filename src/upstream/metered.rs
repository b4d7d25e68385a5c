//! A connection to an origin that may say only so much before an answer begins.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::upstream::connect::UpstreamStream;

/// How many bytes may still be read. HTTP/1.1 allows any number of interim answers before the
/// final one (RFC 9110 section 15.2); an origin that never ends them would keep its worker busy.
///
/// Used by one thread; atomic because hyper wants to send upgraded streams between threads.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    left: AtomicUsize,
    exceeded: AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Self(Arc::new(Reading {
            left: AtomicUsize::new(usize::MAX),
            exceeded: AtomicBool::new(false),
        }))
    }
}

impl Meter {
    /// From now on this many bytes may be read.
    pub fn allow(&self, bytes: usize) {
        self.0.left.store(bytes, Ordering::Relaxed);
    }

    /// An answer has begun; what follows is read as its taker wants it.
    pub fn answered(&self) {
        self.allow(usize::MAX);
    }

    /// Whether the connection was given up because more came.
    #[must_use]
    pub fn exceeded(&self) -> bool {
        self.0.exceeded.load(Ordering::Relaxed)
    }

    /// Counts bytes that were read.
    fn count(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.left.load(Ordering::Relaxed);
        if left == usize::MAX {
            return Ok(());
        }
        if bytes > left {
            self.0.exceeded.store(true, Ordering::Relaxed);
            return Err(io::Error::other("too much came before an answer"));
        }
        self.0.left.store(left - bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// A stream with its meter.
#[derive(Debug)]
pub struct Metered {
    stream: UpstreamStream,
    meter: Meter,
}

impl Metered {
    /// `stream`, of which as much may be read as `meter` says.
    #[must_use]
    pub fn new(stream: UpstreamStream, meter: Meter) -> Self {
        Self { stream, meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        match this.meter.count(buffer.filled().len() - before) {
            Ok(()) => polled,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_an_answer_is_limited() {
        let meter = Meter::default();
        assert!(meter.count(1 << 40).is_ok());
        meter.allow(10);
        assert!(meter.count(6).is_ok());
        meter.answered();
        assert!(meter.count(100).is_ok());
        meter.allow(10);
        assert!(meter.count(6).is_ok());
        assert!(meter.count(6).is_err());
        assert!(meter.exceeded());
    }
}
