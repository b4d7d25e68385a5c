//! One viewer's connection: PROXY header, TLS, HTTP/1.1 or HTTP/2, until either side ends it.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::edge::connection_registry::{Connections, Registration};
use crate::edge::connection_timeouts::{InFlight, LAST_CALL};
use crate::edge::counters::EdgeCounters;
use crate::edge::end::ConnectionEnd;
use crate::edge::handshake::handshake;
use crate::edge::proxy_header;
use crate::edge::shutdown::ShutdownSignal;
use crate::edge::watched_stream::{Abrupt, Active, WatchedStream};
use crate::edge::{http1, http2};
use crate::proxy::peer::Peer;
use crate::resources::ListenerResources;
use crate::stream::prefixed::Prefixed;
use crate::stream::socket::Socket;

/// What an HTTP/2 viewer with prior knowledge sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Read at once while it is not known which protocol a plain connection speaks: as a rule a
/// whole request.
const SNIFF: usize = 4096;

/// What every connection of one worker shares.
#[derive(Debug)]
pub struct ConnectionContext<H> {
    /// Serves one request.
    pub handler: H,
    /// Counters of the worker.
    pub counters: Arc<EdgeCounters>,
    /// The worker's connections.
    pub connections: Rc<Connections>,
}

/// A connection as it was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its bytes.
    pub stream: TcpStream,
    /// Who connected.
    pub tcp: SocketAddr,
    /// Counts it.
    pub active: Active,
    /// What tells it to shut down.
    pub shutdown: ShutdownSignal,
    /// What was built for its listener.
    pub listener: Arc<ListenerResources>,
}

/// Serves a connection to its end.
pub async fn serve<H, F, B>(context: Rc<ConnectionContext<H>>, accepted: Accepted)
where
    H: Fn(&Peer, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Accepted {
        stream,
        tcp,
        active,
        shutdown,
        listener,
    } = accepted;
    let deadline = Instant::now() + listener.config.timeouts.handshake;
    let mut stream = Prefixed::new(Bytes::new(), Socket::new(stream));
    let mut viewer = tcp;
    if listener.config.proxy_protocol && listener.trust.contains(tcp.ip()) {
        match while_open(&shutdown, proxy_header::read(&mut stream, deadline)).await {
            None => return context.counters.ended(ConnectionEnd::Drained),
            Some(Ok((source, rest))) => {
                viewer = source.unwrap_or(tcp);
                stream = stream.unread(rest);
            }
            Some(Err(failure)) => return context.counters.proxy_header_failed(failure),
        }
    }
    let mut peer = Peer::new(tcp, viewer, Arc::clone(&listener));
    let Some(tls) = listener.tls.clone() else {
        return serve_plain(context, stream, peer, active, shutdown).await;
    };
    // In a box, or the connection would keep room for it all its life.
    match while_open(&shutdown, Box::pin(handshake(tls, stream, deadline))).await {
        None => context.counters.ended(ConnectionEnd::Drained),
        Some(Err(failure)) => context.counters.handshake_failed(failure),
        Some(Ok(stream)) => {
            let session = stream.get_ref().1;
            let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            context.counters.handshake_done(resumed);
            peer.secure = true;
            peer.tls_version = session.protocol_version().map(version_name);
            let http2 = session.alpn_protocol() == Some(b"h2");
            let (stream, registration) = watch(&context, stream, &peer, active, shutdown);
            serve_http(context, stream, peer, registration, http2).await;
        }
    }
}

/// What `first_words` gives; nothing if the shutdown comes first and a moment passes.
async fn while_open<F: Future>(shutdown: &ShutdownSignal, first_words: F) -> Option<F::Output> {
    let last_call = async {
        shutdown.given().await;
        tokio::time::sleep(LAST_CALL).await;
    };
    tokio::select! {
        biased;
        output = first_words => Some(output),
        () = last_call => None,
    }
}

fn watch<H, T: Abrupt>(
    context: &ConnectionContext<H>,
    stream: T,
    peer: &Peer,
    active: Active,
    shutdown: ShutdownSignal,
) -> (WatchedStream<T>, Registration) {
    let timeouts = peer.listener.config.timeouts;
    context
        .connections
        .watch(stream, active, shutdown, timeouts)
}

fn version_name(version: rustls::ProtocolVersion) -> &'static str {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
        rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => "other",
    }
}

async fn serve_plain<H, F, B>(
    context: Rc<ConnectionContext<H>>,
    stream: Prefixed<Socket>,
    peer: Peer,
    active: Active,
    shutdown: ShutdownSignal,
) where
    H: Fn(&Peer, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let limit = peer.listener.config.timeouts.head;
    match while_open(&shutdown, sniff(stream, Instant::now() + limit)).await {
        None => context.counters.ended(ConnectionEnd::Drained),
        Some(Err(end)) => context.counters.ended(end),
        Some(Ok((stream, http2))) => {
            let (stream, registration) = watch(&context, stream, &peer, active, shutdown);
            serve_http(context, stream, peer, registration, http2).await;
        }
    }
}

/// Reads until it is clear whether a viewer speaks HTTP/2 with prior knowledge.
async fn sniff(
    mut stream: Prefixed<Socket>,
    deadline: Instant,
) -> Result<(Prefixed<Socket>, bool), ConnectionEnd> {
    let mut seen = BytesMut::with_capacity(SNIFF);
    loop {
        match timeout_at(deadline, stream.read_buf(&mut seen)).await {
            Err(_) => return Err(ConnectionEnd::HeadTimeout),
            Ok(Err(_) | Ok(0)) => return Err(ConnectionEnd::ViewerGone),
            Ok(Ok(_)) => {}
        }
        let known = seen.len().min(PREFACE.len());
        let http2 = seen[..known] == PREFACE[..known];
        if !http2 || known == PREFACE.len() {
            return Ok((stream.unread(seen.freeze()), http2));
        }
    }
}

async fn serve_http<H, F, B, T>(
    context: Rc<ConnectionContext<H>>,
    stream: T,
    peer: Peer,
    registration: Registration,
    http2: bool,
) where
    H: Fn(&Peer, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = peer.listener.limits;
    let peer = Rc::new(peer);
    let watch = Rc::clone(registration.watch());
    let service = service_fn({
        let context = Rc::clone(&context);
        move |request: Request<Incoming>| {
            let ends_by_close = request.version() == Version::HTTP_10;
            let in_flight = watch.begin(!request.body().is_end_stream());
            // In a box: hyper moves the future it is given more than once.
            let response = Box::pin((context.handler)(&peer, request));
            async move {
                let response = response.await;
                in_flight.gave(0);
                Ok::<_, std::convert::Infallible>(response.map(|body| CountedBody {
                    body,
                    in_flight,
                    ends_by_close,
                }))
            }
        }
    });
    let end = if http2 {
        registration.watch().speaks_http2();
        // In a box, like the other: what is idle is not to keep room for the larger of both.
        Box::pin(http2::serve(stream, service, &limits, &registration)).await
    } else {
        http1::serve(stream, service, &limits, &registration).await
    };
    context.counters.ended(end);
}

/// A response's body that keeps its request counted as under way until it is gone.
struct CountedBody<B> {
    body: B,
    in_flight: InFlight,
    /// The viewer's HTTP/1.0 knows no chunks: it may tell the end by the connection's.
    ends_by_close: bool,
}

impl<B: Body + Unpin> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.in_flight.asked();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(frame) = &frame {
            let data = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            self.in_flight.gave(data.map_or(0, Buf::remaining));
        }
        if self.ends_by_close && matches!(frame, Poll::Ready(Some(Err(_)))) {
            self.in_flight.broke();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
