//! One simulated region: an HTTP/1.1 server on loopback that answers late on purpose and can be
//! told to misbehave.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::demo::fault::{Fault, FaultSwitch};

/// How much later a slow region answers.
const SLOWNESS: Duration = Duration::from_secs(2);

/// A region to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Its name.
    pub name: String,
    /// How long every answer takes, as a round trip to it would.
    pub delay: Duration,
    /// The loopback port; 0: any free one.
    pub port: u16,
}

impl RegionSpec {
    /// A region on any free port, `delay` milliseconds away.
    #[must_use]
    pub fn new(name: &str, delay: u64) -> Self {
        Self {
            name: name.to_owned(),
            delay: Duration::from_millis(delay),
            port: 0,
        }
    }
}

/// A simulated region that runs until this is dropped.
#[derive(Debug)]
pub struct Region {
    spec: RegionSpec,
    port: u16,
    fault: watch::Sender<Fault>,
    /// Dropping it tells the server to end.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Region {
    /// Binds the port and starts the server on a thread of its own.
    ///
    /// # Errors
    /// When the port cannot be bound or the thread cannot be started.
    pub fn start(spec: &RegionSpec) -> io::Result<Self> {
        // Bound but never listening: while the region has failed, connections to the port are
        // refused, and nobody else is given the port.
        let reservation = bind(spec.port)?;
        let port = port_of(&reservation)?;
        let listener = listen(port)?;
        let (fault, faults) = watch::channel(Fault::None);
        let (stop, stopped) = watch::channel(());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = Arc::new(Served {
            region: spec.name.clone(),
            delay: spec.delay,
            requests: AtomicU64::new(0),
        });
        let thread = std::thread::Builder::new()
            .name(format!("region {}", spec.name))
            .spawn(move || {
                let _reservation = reservation;
                runtime.block_on(async move {
                    let mut stopped = stopped;
                    tokio::select! {
                        () = serve(listener, port, served, faults) => {}
                        // The sender never sends: this ends when it is dropped.
                        _ = stopped.changed() => {}
                    }
                });
            })?;
        Ok(Self {
            spec: spec.clone(),
            port,
            fault,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How long it takes to answer.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.spec.delay
    }

    /// The loopback port it listens on, and keeps while it has failed.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The switch of its faults.
    #[must_use]
    pub fn switch(&self) -> FaultSwitch {
        FaultSwitch {
            region: self.spec.name.clone(),
            sender: self.fault.clone(),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn bind(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

fn listen(port: u16) -> io::Result<StdListener> {
    let socket = bind(port)?;
    socket.listen(1024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    address
        .map(|address| address.port())
        .ok_or_else(|| io::Error::other("the socket has no IP address"))
}

/// Accepts until the region fails, and again once it is healed.
async fn serve(
    listener: StdListener,
    port: u16,
    served: Arc<Served>,
    mut faults: watch::Receiver<Fault>,
) {
    let mut listener = Some(listener);
    loop {
        if faults
            .wait_for(|fault| *fault != Fault::Fail)
            .await
            .is_err()
        {
            return;
        }
        let ready = listener.take().map_or_else(|| listen(port), Ok);
        let Ok(ready) = ready.and_then(TcpListener::from_std) else {
            // Out of descriptors, most likely; the port itself is reserved.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut watched = faults.clone();
        tokio::select! {
            () = accept(&ready, &served, &faults) => {}
            _ = watched.wait_for(|fault| *fault == Fault::Fail) => {}
        }
    }
}

async fn accept(listener: &TcpListener, served: &Arc<Served>, faults: &watch::Receiver<Fault>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(served), faults.clone()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

/// Serves one connection to its end, or resets it when the region fails.
async fn converse(stream: TcpStream, served: Arc<Served>, faults: watch::Receiver<Fault>) {
    // Small answers must not wait for the peer's delayed acknowledgement; a socket that does not
    // take the option still works.
    let _ = stream.set_nodelay(true);
    let mut failing = faults.clone();
    let service = service_fn(move |request| -> Answer {
        Box::pin(answer(request, Arc::clone(&served), faults.clone()))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What the peer did wrong, if anything, is no concern of a simulated region.
        _ = &mut connection => return,
        _ = failing.wait_for(|fault| *fault == Fault::Fail) => {}
    }
    let stream = connection.into_parts().io.into_inner();
    // Zero linger: the close is a reset, as from a machine that lost its process.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// What a region knows of itself.
#[derive(Debug)]
struct Served {
    region: String,
    delay: Duration,
    requests: AtomicU64,
}

async fn answer(
    request: Request<Incoming>,
    served: Arc<Served>,
    mut faults: watch::Receiver<Fault>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let received = received_bytes(body).await;
    let health = head.uri.path() == "/health";
    let late = *faults.borrow() == Fault::Slow && !health;
    tokio::time::sleep(served.delay + if late { SLOWNESS } else { Duration::ZERO }).await;
    // A closed channel means that the region ends, and this task with it.
    let _ = faults.wait_for(|fault| *fault != Fault::Hang).await;
    let gray = *faults.borrow() == Fault::Gray && !health;
    let response = if health {
        json(&served.region, StatusCode::OK, &health_of(&served.region))
    } else if gray {
        let text = serde_json::json!({ "region": served.region, "error": "out of order" });
        json(&served.region, StatusCode::SERVICE_UNAVAILABLE, &text)
    } else {
        let count = served.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let text = serde_json::json!({
            "region": served.region,
            "method": head.method.as_str(),
            "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
            "received_bytes": received,
            "served": count,
        });
        json(&served.region, StatusCode::OK, &text)
    };
    Ok(if head.method == Method::HEAD {
        response.map(|_| Full::default())
    } else {
        response
    })
}

/// Reads a body to its end without keeping it.
async fn received_bytes(mut body: Incoming) -> u64 {
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    received
}

fn health_of(region: &str) -> serde_json::Value {
    serde_json::json!({
        "status": "ok",
        "region": region,
        "replication_lag_seconds": 0,
        "write_epoch": 1,
        "checks": { "database": "ok" },
    })
}

fn json(region: &str, status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut text = value.to_string();
    text.push('\n');
    let length = text.len();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::from_str(region) {
        headers.insert(HeaderName::from_static("x-demo-region"), name);
    }
    response
}
