//! What a connection of many streams writes in one step, gathered into one write.
//!
//! h2 writes every DATA frame by itself, which over TLS is a record, a system call and a packet each.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes gathered at most: one TLS record.
const MOST: usize = 16 << 10;

/// A frame of this size is worth a write of its own, and not worth a copy.
const LARGE: usize = 8 << 10;

/// Bytes of memory that an idle connection keeps.
const KEPT: usize = 1 << 10;

/// A stream whose small writes wait for [`Gathered::send`]. The connection has one handle, what
/// drives it the other.
#[derive(Debug)]
pub struct Gathered<T>(Rc<RefCell<GatheredWrites<T>>>);

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

#[derive(Debug)]
struct GatheredWrites<T> {
    stream: T,
    bytes: Vec<u8>,
    /// Of `bytes`, so many are written.
    written: usize,
    /// What sending failed with; the connection learns of it when it writes next.
    failed: Option<io::ErrorKind>,
}

impl<T: AsyncWrite + Unpin> Gathered<T> {
    /// `stream`, with nothing gathered.
    pub fn new(stream: T) -> Self {
        Self(Rc::new(RefCell::new(GatheredWrites {
            stream,
            bytes: Vec::new(),
            written: 0,
            failed: None,
        })))
    }

    /// Gives memory back that only a busy connection needs.
    pub fn park(&self) {
        self.0.borrow_mut().bytes.shrink_to(KEPT);
    }

    /// Sends what was gathered, as far as the peer takes it. To be called after each step of the
    /// connection, which is woken for another one if that fails, or when the peer takes more.
    pub fn send(&self, cx: &mut Context<'_>) {
        let waiting = &mut *self.0.borrow_mut();
        if waiting.failed.is_none()
            && let Poll::Ready(Err(error)) = waiting.poll_send(cx)
        {
            waiting.failed = Some(error.kind());
            cx.waker().wake_by_ref();
        }
    }
}

impl<T: AsyncWrite + Unpin> GatheredWrites<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write(cx, &self.bytes[self.written..]))?;
            self.wrote(count)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what was gathered and `more` in one go, where the stream takes both; gives how much it
    /// took of `more`.
    fn poll_write_with(&mut self, cx: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        while self.written < self.bytes.len() {
            let gathered = &self.bytes[self.written..];
            let waiting = gathered.len();
            let both = [IoSlice::new(gathered), IoSlice::new(more)];
            let stream = Pin::new(&mut self.stream);
            let count = ready!(stream.poll_write_vectored(cx, &both))?;
            self.wrote(count.min(waiting))?;
            if count > waiting {
                return Poll::Ready(Ok(count - waiting));
            }
        }
        Pin::new(&mut self.stream).poll_write(cx, more)
    }

    fn wrote(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written += count;
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
        }
        Ok(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let waiting = &mut *self.0.borrow_mut();
        if let Some(kind) = waiting.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if bytes.len() >= LARGE {
            return waiting.poll_write_with(cx, bytes);
        }
        if waiting.bytes.len() + bytes.len() > MOST {
            ready!(waiting.poll_write(cx))?;
        }
        waiting.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Nothing yet: what drives the connection sends when its step is over.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let failed = self.0.borrow().failed;
        Poll::Ready(failed.map_or(Ok(()), |kind| Err(kind.into())))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let waiting = &mut *self.0.borrow_mut();
        ready!(waiting.poll_send(cx))?;
        Pin::new(&mut waiting.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn small_writes_leave_together_and_large_ones_after_them() {
        let (ours, mut theirs) = tokio::io::duplex(64 << 10);
        let mut gathered = Gathered::new(ours);
        gathered.write_all(b"one ").await.unwrap();
        gathered.flush().await.unwrap();
        gathered.write_all(b"two ").await.unwrap();
        let mut seen = [0; 16];
        let nothing = tokio::time::timeout(std::time::Duration::ZERO, theirs.read(&mut seen));
        assert!(nothing.await.is_err());
        poll_fn(|cx| {
            gathered.send(cx);
            Poll::Ready(())
        })
        .await;
        let count = theirs.read(&mut seen).await.unwrap();
        assert_eq!(&seen[..count], b"one two ");

        gathered.write_all(b"small").await.unwrap();
        gathered.write_all(&[b'L'; LARGE]).await.unwrap();
        let mut all = vec![0; 5 + LARGE];
        theirs.read_exact(&mut all).await.unwrap();
        assert_eq!(&all[..6], b"smallL");
    }

    #[tokio::test]
    async fn nothing_is_lost_or_doubled_when_a_peer_takes_a_few_bytes_at_a_time() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let mut gathered = Gathered::new(ours);
        let sizes = [3, LARGE, 0, 40, LARGE + 1, MOST - 1, 2, 9];
        let said: Vec<u8> = (0..=255).cycle().take(sizes.iter().sum()).collect();
        let saying = async {
            let mut rest = &said[..];
            for size in sizes {
                gathered.write_all(&rest[..size]).await.unwrap();
                rest = &rest[size..];
            }
            gathered.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let (_, count) = tokio::join!(saying, theirs.read_to_end(&mut heard));
        assert_eq!(count.unwrap(), said.len());
        assert!(heard == said);
    }

    #[tokio::test]
    async fn a_peer_that_reads_nothing_holds_no_more_than_a_record() {
        let (ours, _theirs) = tokio::io::duplex(1);
        let mut gathered = Gathered::new(ours);
        let mut taken = 0;
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Ok(count)) = Pin::new(&mut gathered).poll_write(&mut cx, &[0; 1000]) {
            taken += count;
            assert!(taken <= MOST + 1000, "{taken}");
        }
        assert!(taken > MOST / 2, "{taken}");
    }
}
