//! From a connected stream to one that speaks HTTP, with its driver on the worker's own runtime.

use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::AbortHandle;

use crate::executor::LocalExecutor;
use crate::upstream::body::RequestBody;
use crate::upstream::connect::{DialError, UpstreamStream};
use crate::upstream::metered::{Meter, Metered};

/// Flow-control window of one HTTP/2 stream: a region 120 ms away fills 1 MiB at 70 Mbit/s.
const STREAM_WINDOW: u32 = 1 << 20;

/// Flow-control window of one HTTP/2 connection: so many viewers that do not read may have a whole
/// stream window each before the others of the connection notice.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// So many of the largest heads may come before an answer has begun: interim ones, the final one,
/// and what hyper reads ahead of the body.
const HEADS: usize = 8;

/// The smallest buffer hyper accepts.
const MINIMUM_BUFFER: usize = 8192;

/// Bounds of one response head.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    /// Its bytes.
    pub(super) bytes: usize,
    /// Its fields.
    pub(super) fields: usize,
}

/// An HTTP/1.1 connection that serves one request at a time.
#[derive(Debug)]
pub struct Exclusive {
    /// The way to send on it.
    pub sender: http1::SendRequest<RequestBody>,
    /// What it may say before an answer.
    pub meter: Meter,
    /// Bytes that interim answers and the head may have together.
    pub most: usize,
    /// What moves its bytes.
    pub(super) driver: AbortHandle,
}

/// HTTP/1.1 on a fresh connection.
pub(super) async fn handshake_http1(
    stream: UpstreamStream,
    limits: HeadLimits,
) -> Result<Exclusive, DialError> {
    let buffer = limits.bytes.max(MINIMUM_BUFFER);
    let meter = Meter::default();
    let (sender, connection) = http1::Builder::new()
        .max_headers(limits.fields)
        .max_buf_size(buffer)
        .handshake(TokioIo::new(Metered::new(stream, meter.clone())))
        .await
        .map_err(broken_handshake)?;
    let driver = tokio::task::spawn_local(async move {
        // How a connection ended is told to the request that was on it.
        let _ = connection.with_upgrades().await;
    });
    Ok(Exclusive {
        sender,
        meter,
        most: buffer.saturating_mul(HEADS),
        driver: driver.abort_handle(),
    })
}

/// HTTP/2 on a fresh connection; the token counts its streams.
pub(super) async fn handshake_http2(
    stream: UpstreamStream,
    limits: HeadLimits,
) -> Result<(http2::SendRequest<RequestBody>, Rc<()>), DialError> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(limits.bytes).unwrap_or(u32::MAX))
        // A connection whose peer vanished without a word is found out within seconds.
        .keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken_handshake)?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok((sender, Rc::new(())))
}

fn broken_handshake(error: hyper::Error) -> DialError {
    DialError::Connect(std::io::Error::other(error))
}
