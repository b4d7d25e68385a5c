//! A connection to an origin that has left HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::upstream::connect::UpstreamStream;
use crate::upstream::http1::Connection;

/// Its bytes, those first that came with the head of the `101`.
#[derive(Debug)]
pub struct Switched {
    stream: UpstreamStream,
    input: BytesMut,
}

impl Switched {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            stream: connection.stream,
            input: connection.input,
        }
    }
}

impl AsyncRead for Switched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.input.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let length = this.input.len().min(buffer.remaining());
        buffer.put_slice(&this.input[..length]);
        this.input.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Switched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
