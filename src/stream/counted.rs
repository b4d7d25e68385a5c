//! A stream that tells of the bytes which pass through it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Is told what a [`CountedStream`] of a `T` does, and may have a say in it.
pub trait StreamMeter<T> {
    /// So many bytes were read: none, and `is_end`, when there will be no more.
    ///
    /// # Errors
    /// What its reader is told instead.
    fn read(&self, count: usize, is_end: bool) -> io::Result<()>;

    /// How a write went.
    fn wrote(&self, _polled: &Poll<io::Result<usize>>) {}

    /// How a flush went.
    fn flushed(&self, _polled: &Poll<io::Result<()>>) {}

    /// Whether the end may be said to the peer.
    fn may_shut_down(&self) -> bool {
        true
    }

    /// The stream is about to be closed.
    fn closing(&self, _stream: &T) {}
}

/// `stream`, whose bytes `meter` is told of.
#[derive(Debug)]
pub struct CountedStream<T, M: StreamMeter<T>> {
    stream: T,
    meter: M,
}

impl<T, M: StreamMeter<T>> CountedStream<T, M> {
    /// Tells `meter` of all that passes through `stream`.
    #[must_use]
    pub fn new(stream: T, meter: M) -> Self {
        Self { stream, meter }
    }

    /// What is told.
    #[must_use]
    pub fn meter(&self) -> &M {
        &self.meter
    }
}

impl<T, M: StreamMeter<T>> Drop for CountedStream<T, M> {
    fn drop(&mut self) {
        self.meter.closing(&self.stream);
    }
}

impl<T: AsyncRead + Unpin, M: StreamMeter<T> + Unpin> AsyncRead for CountedStream<T, M> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        let is_end = count == 0 && buffer.remaining() > 0 && polled.is_ready();
        match this.meter.read(count, is_end) {
            Ok(()) => polled,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T: AsyncWrite + Unpin, M: StreamMeter<T> + Unpin> AsyncWrite for CountedStream<T, M> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.meter.wrote(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.meter.wrote(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(cx);
        this.meter.flushed(&polled);
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.meter.may_shut_down() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
