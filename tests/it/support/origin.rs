//! An origin that answers, or misbehaves, as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A response's body in tests.
pub(crate) type TestBody = BoxBody<Bytes, std::io::Error>;

/// What an origin does with a request (health probes are always answered 200 unless it is
/// `Raw`, `Reset` or `Hang`).
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers 200 with its name as the body.
    Name,
    /// Answers this status, with these fields and body.
    Answer(StatusCode, Vec<(&'static str, String)>, Bytes),
    /// Sends the request's body back, frame by frame, trailers included.
    Echo,
    /// Whatever the function says.
    With(Arc<dyn Fn(Seen) -> Response<TestBody> + Send + Sync>),
    /// Reads the request and never answers, health probes included.
    Hang,
    /// Reads the request's first bytes and resets the connection.
    Reset,
    /// Writes these bytes and closes, once a request's head was read.
    Raw(Bytes),
    /// As `Raw`, but leaves the connection open.
    RawOpen(Bytes),
}

/// A request as an origin saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The method.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    /// Fields.
    pub(crate) headers: HeaderMap,
    /// `:authority`, for HTTP/2.
    pub(crate) authority: Option<String>,
    /// The whole body (empty for `Echo`).
    pub(crate) body: Bytes,
}

/// A running origin; stops when dropped.
pub(crate) struct FakeOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    name: String,
    behaviour: Mutex<Behaviour>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    http2: bool,
    tls: Option<tokio_rustls::TlsAcceptor>,
    kill: watch::Sender<u32>,
}

impl FakeOrigin {
    /// An origin called `name` on a free loopback port, over plain HTTP/1.1.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, false, None, "127.0.0.1:0".parse().unwrap()).await
    }

    /// The same over HTTP/2 by prior knowledge.
    pub(crate) async fn start_http2(name: &str) -> Self {
        Self::start_with(name, true, None, "127.0.0.1:0".parse().unwrap()).await
    }

    /// An origin at `address`, over TLS if an acceptor is given.
    pub(crate) async fn start_with(
        name: &str,
        http2: bool,
        tls: Option<Arc<rustls::ServerConfig>>,
        address: SocketAddr,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            behaviour: Mutex::new(Behaviour::Name),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            http2,
            tls: tls.map(tokio_rustls::TlsAcceptor::from),
            kill: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// From now on it does this.
    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// Requests it saw so far, probes left out.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many connections were opened to it so far.
    pub(crate) fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// Waits until it has seen `count` requests, probes left out.
    pub(crate) async fn saw(&self, count: usize) {
        self.shared
            .count
            .subscribe()
            .wait_for(|seen| *seen >= count)
            .await
            .unwrap();
    }

    /// Closes every open connection; new ones are accepted.
    pub(crate) fn close_connections(&self) {
        self.shared.kill.send_modify(|round| *round += 1);
    }

    /// As a killed process: the port refuses, open connections close.
    pub(crate) async fn kill(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
        self.close_connections();
    }
}

impl FakeOrigin {
    /// Listens again at the same address after `kill`.
    pub(crate) async fn revive(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.accepting = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
    }
}

impl Drop for FakeOrigin {
    fn drop(&mut self) {
        self.accepting.abort();
        self.close_connections();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        shared.connections.send_modify(|count| *count += 1);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut killed = shared.kill.subscribe();
            tokio::select! {
                () = serve(stream, Arc::clone(&shared)) => {}
                _ = killed.changed() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let behaviour = shared.behaviour.lock().unwrap().clone();
    match (behaviour, &shared.tls) {
        (Behaviour::Reset, _) => reset_after_head(stream, &shared).await,
        (Behaviour::Raw(bytes), _) => raw(stream, bytes, false, &shared).await,
        (Behaviour::RawOpen(bytes), _) => raw(stream, bytes, true, &shared).await,
        (_, Some(tls)) => {
            if let Ok(stream) = tls.accept(stream).await {
                serve_http(stream, shared.clone()).await;
            }
        }
        (_, None) => serve_http(stream, shared.clone()).await,
    }
}

async fn serve_http(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    shared: Arc<Shared>,
) {
    let http2 = shared.http2;
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    if http2 {
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        let _ = connection.await;
    } else {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let _ = connection.await;
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<TestBody>, Infallible> {
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let probe = request.uri().path() == "/health";
    if matches!(behaviour, Behaviour::Hang) {
        if !probe {
            note(&shared, &request, Bytes::new());
        }
        std::future::pending::<()>().await;
    }
    if probe {
        return Ok(Response::new(full(format!(
            "{{\"region\":\"{}\"}}",
            shared.name
        ))));
    }
    if matches!(behaviour, Behaviour::Echo) {
        note(&shared, &request, Bytes::new());
        let body = request.into_body().map_err(std::io::Error::other).boxed();
        return Ok(Response::new(body));
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(Response::new(full("the request's body broke off")));
    };
    let seen = note(&shared, &Request::from_parts(parts, ()), body.to_bytes());
    Ok(match behaviour {
        Behaviour::Answer(status, fields, body) => {
            let mut response = Response::new(full(body));
            *response.status_mut() = status;
            for (name, value) in fields {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            response
        }
        Behaviour::With(function) => function(seen),
        _ => Response::new(full(shared.name.clone())),
    })
}

fn note<B>(shared: &Shared, request: &Request<B>, body: Bytes) -> Seen {
    let seen = Seen {
        method: request.method().clone(),
        path: request
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned(),
        headers: request.headers().clone(),
        authority: request.uri().authority().map(ToString::to_string),
        body,
    };
    shared.seen.lock().unwrap().push(seen.clone());
    shared.count.send_modify(|count| *count += 1);
    seen
}

/// A body known whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body of these frames; an `Err` breaks it off.
pub(crate) fn frames(frames: Vec<Result<Frame<Bytes>, std::io::Error>>) -> TestBody {
    BodyExt::boxed(StreamBody::new(tokio_stream(frames)))
}

fn tokio_stream<T>(items: Vec<T>) -> impl futures_core::Stream<Item = T> {
    Items(items.into_iter())
}

struct Items<T>(std::vec::IntoIter<T>);

impl<T> futures_core::Stream for Items<T> {
    type Item = T;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        std::task::Poll::Ready(self.get_mut().0.next())
    }
}

impl<T> Unpin for Items<T> {}

async fn read_head(stream: &mut TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&buffer[..count]),
        }
    }
    if !head.starts_with(b"GET /health") {
        shared.count.send_modify(|count| *count += 1);
    }
}

async fn reset_after_head(mut stream: TcpStream, shared: &Shared) {
    read_head(&mut stream, shared).await;
    // Linger zero makes the close a reset.
    let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
}

async fn raw(mut stream: TcpStream, bytes: Bytes, open: bool, shared: &Shared) {
    read_head(&mut stream, shared).await;
    let _ = stream.write_all(&bytes).await;
    let _ = stream.flush().await;
    if open {
        std::future::pending::<()>().await;
    }
}
