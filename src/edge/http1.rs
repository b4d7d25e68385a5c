//! HTTP/1.1 on a viewer's connection, which keeps no buffers while it is idle.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use crate::edge::connection_registry::Registration;
use crate::edge::connection_timeouts::{LAST_CALL, SweepOrder};
use crate::edge::drive::drive;
use crate::edge::end::ConnectionEnd;
use crate::stream::prefixed::Prefixed;
use meridian_core::config::LimitsConfig;

/// The parser's own default; to set the same number would cost an allocation per request.
const DEFAULT_FIELDS: usize = 100;

/// Bytes read at once when a viewer ends its silence: as a rule a whole request.
const FIRST_READ: usize = 4096;

/// Serves `stream` to its end, which it gives. Each time it is told to park, it gives hyper's
/// buffers back, and takes new ones when the viewer says something.
pub(super) async fn serve<S, B, T>(
    stream: T,
    mut service: S,
    limits: &LimitsConfig,
    registration: &Registration,
) -> ConnectionEnd
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut stream = Prefixed::new(Bytes::new(), stream);
    loop {
        let parts = {
            let connection = builder(limits)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let mut connection = Box::new(connection);
            let finish = UpgradeableConnection::graceful_shutdown;
            let step = Future::poll;
            let driven = drive(Pin::new(&mut *connection), step, registration, finish).await;
            if let Some(end) = driven {
                return end;
            }
            connection.into_parts()
        };
        let Some(parts) = parts else {
            return ConnectionEnd::Finished;
        };
        service = parts.service;
        stream = parts.io.into_inner();
        let begun = parts.read_buf;
        if is_no_head(&begun) {
            // With the buffer that it is in.
            drop(begun);
            match park(&mut stream, registration).await {
                Ok(bytes) => stream = stream.unread(bytes),
                Err(end) => return end,
            }
        } else {
            registration.watch().has_begun_a_head();
            stream = stream.unread(begun);
        }
    }
}

/// Whether what came with the last request is nothing, or the empty line that some old clients send
/// after a body (RFC 9112 section 2.2).
fn is_no_head(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Waits, holding nothing but `stream`, for the viewer's next bytes, which it gives. They are
/// none when the viewer closed its sending side: the next read will find that again.
///
/// # Errors
/// How the connection ended, if it did: the viewer reset it, or the sweep ordered its end.
async fn park<T: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut T,
    registration: &Registration,
) -> Result<Bytes, ConnectionEnd> {
    loop {
        let order = tokio::select! {
            biased;
            bytes = poll_fn(|cx| poll_bytes(stream, cx)) => return bytes,
            order = poll_fn(|cx| registration.watch().poll_order(cx)) => order,
        };
        match order {
            // It does.
            SweepOrder::Park => {}
            SweepOrder::Finish(end) => {
                let _ = timeout(LAST_CALL, stream.shutdown()).await;
                return Err(end);
            }
            SweepOrder::Abort(end) => return Err(end),
        }
    }
}

fn poll_bytes<T: AsyncRead + Unpin>(
    stream: &mut T,
    cx: &mut Context<'_>,
) -> Poll<Result<Bytes, ConnectionEnd>> {
    let mut room = [MaybeUninit::uninit(); FIRST_READ];
    let mut read = ReadBuf::uninit(&mut room);
    Pin::new(stream)
        .poll_read(cx, &mut read)
        .map_ok(|()| Bytes::copy_from_slice(read.filled()))
        .map_err(|_| ConnectionEnd::ViewerGone)
}

fn builder(limits: &LimitsConfig) -> Builder {
    let mut builder = Builder::new();
    // A viewer that shuts its sending side after its request is taken to have left: nothing on
    // the wire tells it from one that closed, and waiting would keep origins at work for nobody.
    builder.half_close(false);
    // The sweep watches heads and idle connections; hyper would set a timer per request.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_header_size(limits.header_bytes);
    if limits.header_fields != DEFAULT_FIELDS {
        builder.max_headers(limits.header_fields);
    }
    builder
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::convert::Infallible;
    use std::io;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use http_body_util::BodyExt;
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::edge::connection_registry::Connections;
    use crate::edge::counters::EdgeCounters;
    use crate::edge::shutdown::{ShutdownGuard, ShutdownSignal};
    use crate::edge::watched_stream::{Abrupt, Active};
    use crate::telemetry::metrics::MetricsRegistry;
    use meridian_core::config::DownstreamTimeouts;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

    /// The proxy's end of a connection, which tells how much room its last read had.
    struct Spied {
        stream: DuplexStream,
        room: Arc<AtomicUsize>,
    }

    impl Abrupt for Spied {
        fn reset_on_close(&self) {}
    }

    impl AsyncRead for Spied {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.room.store(buffer.remaining(), Ordering::Relaxed);
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Spied {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// A viewer, and the worker's sweep.
    struct Viewer {
        stream: DuplexStream,
        connections: Rc<Connections>,
        room: Arc<AtomicUsize>,
        requests: Rc<Cell<u32>>,
        guard: Option<ShutdownGuard>,
    }

    impl Viewer {
        async fn say(&mut self, bytes: &[u8]) {
            self.stream.write_all(bytes).await.unwrap();
        }

        /// Reads one answer, which has no body.
        async fn answer(&mut self) -> String {
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(self.stream.read_u8().await.unwrap());
            }
            String::from_utf8(answer).unwrap()
        }

        /// Lets `seconds` pass, with a sweep in each.
        async fn wait(&mut self, seconds: u32) {
            for _ in 0..seconds {
                advance(Duration::from_secs(1)).await;
                self.connections.sweep(Instant::now());
                tokio::task::yield_now().await;
            }
        }

        fn is_parked(&self) -> bool {
            self.room.load(Ordering::Relaxed) == FIRST_READ
        }

        async fn is_closed(&mut self) -> bool {
            matches!(self.stream.read(&mut [0]).await, Ok(0))
        }
    }

    /// Serves one connection to `viewer`; gives how it ended, and what the viewer gave.
    async fn with<F, R>(viewer: impl FnOnce(Viewer) -> F) -> (ConnectionEnd, R)
    where
        F: Future<Output = R>,
    {
        let (near, far) = duplex(1024);
        let room = Arc::new(AtomicUsize::new(0));
        let connections = Rc::new(Connections::default());
        let (guard, shutdown) = ShutdownSignal::new();
        let spied = Spied {
            stream: far,
            room: Arc::clone(&room),
        };
        let active = Active::new(Arc::new(EdgeCounters::new(&MetricsRegistry::default())));
        let timeouts = DownstreamTimeouts::default();
        let (stream, registration) = connections.watch(spied, active, shutdown, timeouts);
        let requests = Rc::new(Cell::new(0));
        let watch = Rc::clone(registration.watch());
        // Held, as by an upload that goes on beside its answer.
        let bodies = RefCell::new(Vec::new());
        let service = service_fn(|request: Request<Incoming>| {
            let _in_flight = watch.begin(!request.body().is_end_stream());
            requests.set(requests.get() + 1);
            let body = Box::pin(request.into_body().collect());
            bodies.borrow_mut().push(body);
            async { Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new())) }
        });
        let limits = LimitsConfig::default();
        let served = serve(stream, service, &limits, &registration);
        let viewer = viewer(Viewer {
            stream: near,
            connections: Rc::clone(&connections),
            room,
            requests: Rc::clone(&requests),
            guard: Some(guard),
        });
        tokio::join!(served, viewer)
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_gives_its_buffers_back_and_serves_on() {
        let (end, ()) = with(|mut viewer| async move {
            for round in 1..=3 {
                viewer.say(REQUEST).await;
                assert!(viewer.answer().await.starts_with("HTTP/1.1 200 "));
                assert_eq!(viewer.requests.get(), round);
                assert!(!viewer.is_parked());
                viewer.wait(3).await;
                assert!(viewer.is_parked());
            }
        })
        .await;
        assert_eq!(end, ConnectionEnd::Finished);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_ends_the_silence_may_come_in_pieces() {
        with(|mut viewer| async move {
            viewer.say(REQUEST).await;
            viewer.answer().await;
            viewer.wait(3).await;
            for byte in REQUEST {
                viewer.say(&[*byte]).await;
                tokio::task::yield_now().await;
            }
            assert!(viewer.answer().await.starts_with("HTTP/1.1 200 "));
            assert_eq!(viewer.requests.get(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_ends_the_silence_must_be_whole_in_time() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.say(REQUEST).await;
            viewer.answer().await;
            viewer.wait(3).await;
            viewer.say(b"GET / HT").await;
            viewer.wait(12).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::HeadTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_parked_too_long_is_closed() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.say(REQUEST).await;
            viewer.answer().await;
            viewer.wait(80).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_connection_is_closed_at_shutdown() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.say(REQUEST).await;
            viewer.answer().await;
            viewer.wait(3).await;
            viewer.guard = None;
            viewer.wait(1).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::Drained);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_outlasts_its_answer_is_not_taken_for_requests() {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            REQUEST.len()
        );
        with(|mut viewer| async move {
            viewer.say(head.as_bytes()).await;
            viewer.answer().await;
            viewer.wait(3).await;
            viewer.say(REQUEST).await;
            viewer.wait(1).await;
            assert_eq!(viewer.requests.get(), 1);
            viewer.say(REQUEST).await;
            viewer.answer().await;
            assert_eq!(viewer.requests.get(), 2);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_began_with_the_request_before_must_be_whole_in_time() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.say(&[REQUEST, b"G"].concat()).await;
            viewer.answer().await;
            viewer.wait(14).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::HeadTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_line_after_a_request_begins_no_head() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.say(&[REQUEST, b"\r\n"].concat()).await;
            viewer.answer().await;
            viewer.wait(30).await;
            viewer.say(REQUEST).await;
            viewer.answer().await;
            assert_eq!(viewer.requests.get(), 2);
            viewer.wait(80).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_never_asked_is_not_parked() {
        let (end, ()) = with(|mut viewer| async move {
            viewer.wait(8).await;
            assert!(!viewer.is_parked());
            viewer.wait(4).await;
            assert!(viewer.is_closed().await);
        })
        .await;
        assert_eq!(end, ConnectionEnd::HeadTimeout);
    }
}
