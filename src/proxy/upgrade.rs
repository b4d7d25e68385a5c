//! After `101 Switching Protocols`: bytes both ways until either side closes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Response, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::recorder::Recorder;
use crate::upstream::http1::switched::Switched;
use crate::upstream::pool::Outstanding;

/// Bytes in flight each way, per tunnel.
const TUNNEL_BUFFER: usize = 16 << 10;

/// The two ends of a tunnel to be.
#[derive(Debug)]
pub struct Tunnel {
    /// The viewer's connection, once its answer is written.
    pub viewer: OnUpgrade,
    /// The origin's connection.
    pub origin: Switched,
    /// Counts the tunnel at its endpoint.
    pub outstanding: Outstanding,
}

impl Tunnel {
    /// Carries bytes in the background until both sides have closed, then finishes the record.
    pub fn start(self, mut recorder: Recorder) {
        tokio::task::spawn_local(async move {
            let _outstanding = self.outstanding;
            let Ok(viewer) = self.viewer.await else {
                return;
            };
            let mut viewer = Counted::new(TokioIo::new(viewer));
            let mut origin = self.origin;
            // How it ended is told to both sides by their closed connections; that one reset its
            // own is an end like another.
            let _ = tokio::io::copy_bidirectional_with_sizes(
                &mut viewer,
                &mut origin,
                TUNNEL_BUFFER,
                TUNNEL_BUFFER,
            )
            .await;
            recorder.tunnelled(viewer.read, viewer.written);
        });
    }
}

/// A stream whose bytes are counted, however it ends.
#[derive(Debug)]
struct Counted<T> {
    inner: T,
    read: u64,
    written: u64,
}

impl<T> Counted<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            read: 0,
            written: 0,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.inner).poll_read(cx, buffer);
        this.read += (buffer.filled().len() - before) as u64;
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = polled {
            this.written += count as u64;
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

/// Whether an origin agreed to leave HTTP.
#[must_use]
pub fn is_switching<B>(response: &Response<B>) -> bool {
    response.status() == http::StatusCode::SWITCHING_PROTOCOLS
}

/// Whether a `101` names only protocols that the request asked for (RFC 9110 section 7.8). There
/// is none in HTTP/2.
#[must_use]
pub fn is_asked_for<B>(response: &Response<B>, request: &HeaderMap) -> bool {
    let mut chosen = protocols(response.headers()).peekable();
    response.version() == Version::HTTP_11
        && chosen.peek().is_some()
        && chosen.all(|one| protocols(request).any(|asked| asked.eq_ignore_ascii_case(one)))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::UPGRADE).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|protocol| !protocol.is_empty())
}

/// The fields a `101` must carry to the viewer.
pub fn keep_upgrade_fields(headers: &mut HeaderMap) {
    headers.insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("upgrade"),
    );
}
