//! A TCP connection that is written with the cheapest call there is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Up to so many bytes in several pieces are copied together: `writev` costs about 0.3 us more than
/// `send`, and a copy of so few bytes less than a tenth of that.
const GATHERED: usize = 2 << 10;

/// A connection, to a viewer or an origin.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// `tcp`, which is connected.
    #[must_use]
    pub fn new(tcp: TcpStream) -> Self {
        Self(tcp)
    }

    /// The connection itself, for its options.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        &self.0
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tcp = Pin::new(&mut self.get_mut().0);
        if let [one] = slices {
            return tcp.poll_write(cx, one);
        }
        let mut room = [0; GATHERED];
        match gather(slices, &mut room) {
            Some(length) => tcp.poll_write(cx, &room[..length]),
            None => tcp.poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

/// Copies all of `slices` to the beginning of `room`, if they fit; gives their length.
fn gather(slices: &[io::IoSlice<'_>], room: &mut [u8]) -> Option<usize> {
    let length = slices.iter().map(|slice| slice.len()).sum();
    if length > room.len() {
        return None;
    }
    let mut rest = room;
    for slice in slices {
        let (place, after) = rest.split_at_mut(slice.len());
        place.copy_from_slice(slice);
        rest = after;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;

    use super::*;

    #[test]
    fn pieces_that_fit_are_one_and_others_are_left_alone() {
        let mut room = [0; 8];
        let slices = [b"ab".as_slice(), b"", b"cde"].map(IoSlice::new);
        assert_eq!(gather(&slices, &mut room), Some(5));
        assert_eq!(&room[..5], b"abcde");
        assert_eq!(gather(&[IoSlice::new(b"123456789")], &mut room), None);
    }
}
