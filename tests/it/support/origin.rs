//! An origin that answers, or misbehaves, as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::body::half_then_silence;
pub(crate) use crate::support::body::{TestBody, frames, full};

/// What an origin does with a request. Health probes are answered as [`Probes`] says, unless it is
/// `Raw`, `Reset`, `Hang` or `Mute`.
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
    /// Answers 200 with its name, so much later.
    Slow(Duration),
    /// Answers with the head and half of a body, and then says no more.
    Stall,
    /// Reads the request and never answers, health probes included.
    Hang,
    /// Accepts connections and never reads a byte of them, a TLS handshake neither.
    Mute,
    /// Reads the request's first bytes and resets the connection.
    Reset,
    /// Writes these bytes and closes, once a request's head was read.
    Raw(Bytes),
    /// As `Raw`, but leaves the connection open.
    RawOpen(Bytes),
}

/// What an origin answers to health probes.
#[derive(Clone)]
pub(crate) enum Probes {
    /// 200, and its own name as the region's.
    Pass,
    /// 503.
    Fail,
    /// 200, and this region's name.
    Name(&'static str),
    /// Whether the probe of this number, counted from 0, passes.
    Each(fn(usize) -> bool),
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
    probes: Mutex<Probes>,
    probed: watch::Sender<usize>,
    seen: Mutex<Vec<Seen>>,
    count: watch::Sender<usize>,
    connections: watch::Sender<usize>,
    http2: bool,
    tls: Mutex<Option<tokio_rustls::TlsAcceptor>>,
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
            probes: Mutex::new(Probes::Pass),
            probed: watch::Sender::new(0),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
            connections: watch::Sender::new(0),
            http2,
            tls: Mutex::new(tls.map(tokio_rustls::TlsAcceptor::from)),
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
        let scheme = if self.shared.tls.lock().unwrap().is_some() {
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

    /// From now on it answers probes like this.
    pub(crate) fn answer_probes(&self, probes: Probes) {
        *self.shared.probes.lock().unwrap() = probes;
    }

    /// From now on it shows this certificate to whoever connects.
    pub(crate) fn certify(&self, tls: Arc<rustls::ServerConfig>) {
        *self.shared.tls.lock().unwrap() = Some(tls.into());
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

    /// Waits for so many more probes.
    pub(crate) async fn probed(&self, more: usize) {
        let mut probed = self.shared.probed.subscribe();
        let before = *probed.borrow();
        let enough = |seen: &usize| *seen >= before + more;
        probed.wait_for(enough).await.unwrap();
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
    let tls = shared.tls.lock().unwrap().clone();
    match (behaviour, tls) {
        (Behaviour::Mute, _) => std::future::pending().await,
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
        return Ok(health(&shared));
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
        Behaviour::Stall => half_then_silence(),
        Behaviour::Slow(delay) => {
            tokio::time::sleep(delay).await;
            Response::new(full(shared.name.clone()))
        }
        _ => Response::new(full(shared.name.clone())),
    })
}

fn health(shared: &Shared) -> Response<TestBody> {
    let number = *shared.probed.borrow();
    let (passes, name) = match *shared.probes.lock().unwrap() {
        Probes::Pass => (true, shared.name.as_str()),
        Probes::Fail => (false, shared.name.as_str()),
        Probes::Name(name) => (true, name),
        Probes::Each(passes) => (passes(number), shared.name.as_str()),
    };
    shared.probed.send_modify(|probed| *probed += 1);
    let mut response = Response::new(full(format!("{{\"region\":\"{name}\"}}")));
    if !passes {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
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

async fn read_head(stream: &mut TcpStream, shared: &Shared) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&buffer[..count]),
        }
    }
    if head.starts_with(b"GET /health") {
        return;
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.split(' ');
    let (method, path) = (words.next(), words.next());
    let request = Request::builder()
        .method(method.unwrap())
        .uri(path.unwrap_or("/"));
    if let Ok(request) = request.body(()) {
        note(shared, &request, Bytes::new());
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
