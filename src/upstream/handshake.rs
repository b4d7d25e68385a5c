//! From a connected stream to one that speaks HTTP/2, with its driver on the worker's own runtime.

use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::executor::LocalExecutor;
use crate::upstream::body::RequestBody;
use crate::upstream::connect::{DialError, UpstreamStream};
use crate::upstream::http1::HeadLimits;
use crate::upstream::stream_token::StreamToken;

/// Flow-control window of one HTTP/2 stream: a region 120 ms away fills 1 MiB at 70 Mbit/s.
const STREAM_WINDOW: u32 = 1 << 20;

/// Flow-control window of one HTTP/2 connection: so many viewers that do not read may have a whole
/// stream window each before the others of the connection notice.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// HTTP/2 on a fresh connection; the token counts its streams.
pub(super) async fn handshake_http2(
    stream: UpstreamStream,
    limits: HeadLimits,
) -> Result<(http2::SendRequest<RequestBody>, StreamToken), DialError> {
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
    Ok((sender, StreamToken::default()))
}

fn broken_handshake(error: hyper::Error) -> DialError {
    DialError::Connect(std::io::Error::other(error))
}
