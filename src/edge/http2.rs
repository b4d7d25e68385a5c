//! HTTP/2 on a viewer's connection.

use std::error::Error;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, ready};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http2::{Builder, Connection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::edge::coalesce_delay::Turn;
use crate::edge::coalesced_writes::Gathered;
use crate::edge::connection_registry::Registration;
use crate::edge::drive::drive;
use crate::edge::end::ConnectionEnd;
use crate::edge::stream_executor::StreamExecutor;
use meridian_core::config::LimitsConfig;

/// Streams at once per HTTP/2 connection, as nginx (128) and browsers expect (at least 100, RFC
/// 9113 section 6.5.2).
const STREAMS: u32 = 128;

/// Streams that a viewer opened and reset before we took them, the mark of the rapid reset attack
/// (CVE-2023-44487), until its connection is closed.
const RESET_STREAMS: usize = 20;

/// What a viewer may upload to one stream before we have passed it on, and to all together.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Bytes of responses buffered per stream: bounds what 128 slow streams can make us hold.
const SEND_BUFFER: usize = 64 << 10;

/// Serves `stream` to its end, which it gives.
pub(super) async fn serve<S, B, T>(
    stream: T,
    service: S,
    limits: &LimitsConfig,
    registration: &Registration,
) -> ConnectionEnd
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let executor = StreamExecutor(Rc::clone(registration.watch()));
    let stream = Gathered::new(stream);
    let io = TokioIo::new(stream.clone());
    let mut connection = pin!(builder(limits, executor).serve_connection(io, service));
    let mut turn = Turn::default();
    let mut step = |connection: Pin<&mut _>, cx: &mut Context<'_>| {
        ready!(turn.poll(cx));
        let ended = Future::poll(connection, cx);
        stream.send(cx);
        ended
    };
    let finish = Connection::graceful_shutdown;
    loop {
        if let Some(end) = drive(connection.as_mut(), &mut step, registration, finish).await {
            return end;
        }
        stream.park();
    }
}

fn builder(limits: &LimitsConfig, executor: StreamExecutor) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(RESET_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        // No PING of ours: it would cost a lock and a look at the clock per frame, and TCP's own
        // keepalive finds a viewer that vanished just as well.
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    builder
}
