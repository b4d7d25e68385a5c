//! One endpoint of a simulated region: an HTTP/1.1 server on a loopback port.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::demo::answer::Served;
use crate::demo::body::{BrokenOff, RegionBody};
use crate::demo::fault::Fault;
use crate::demo::switch::FaultSight;

/// On loopback a connect that gets no answer in this time gets none at all.
const CONNECTED_WITHIN: Duration = Duration::from_millis(20);

/// A port that is listened to, and stays reserved while it is not.
#[derive(Debug)]
pub(crate) struct RegionEndpoint {
    /// Bound but never listening: while the endpoint has failed, connections to the port are
    /// refused, and nobody else is given the port.
    _reservation: Socket,
    port: u16,
    listener: Option<StdListener>,
}

impl RegionEndpoint {
    /// Binds the port and listens; 0 stands for any free one.
    pub(crate) fn open(port: u16) -> io::Result<Self> {
        let reservation = bind(port)?;
        let port = port_of(&reservation)?;
        Ok(Self {
            _reservation: reservation,
            port,
            listener: Some(listen(port, 1024)?),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Accepts while the faults let it, for ever.
    pub(crate) async fn serve(mut self, served: Arc<Served>, mut sight: FaultSight) {
        loop {
            sight.until(|fault| fault != Fault::Fail).await;
            if sight.now() == Fault::Blackhole {
                self.swallow(&mut sight).await;
                continue;
            }
            let ready = self.listener.take();
            let ready = ready.map_or_else(|| listen(self.port, 1024), Ok);
            let Ok(ready) = ready.and_then(TcpListener::from_std) else {
                // Out of descriptors, most likely; the port itself is reserved.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut watched = sight.clone();
            tokio::select! {
                () = accept(&ready, &served, &sight) => {}
                () = watched.until(is_closed) => {}
            }
        }
    }

    /// Listens with a queue that is full, so that the kernel drops what asks for a connection.
    async fn swallow(&mut self, sight: &mut FaultSight) {
        let full = listen(self.port, 0).and_then(TcpListener::from_std);
        let Ok(_full) = full else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return;
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut held = Vec::new();
        // A queue of length 0 holds one connection, on some systems two.
        while held.len() < 16 {
            let connect = tokio::time::timeout(CONNECTED_WITHIN, TcpStream::connect(address));
            match connect.await {
                Ok(Ok(stream)) => held.push(stream),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        sight.until(|fault| fault != Fault::Blackhole).await;
    }
}

/// Whether the port takes no connections.
fn is_closed(fault: Fault) -> bool {
    matches!(fault, Fault::Fail | Fault::Blackhole)
}

fn bind(port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    Ok(socket)
}

fn listen(port: u16, queue: i32) -> io::Result<StdListener> {
    let socket = bind(port)?;
    socket.listen(queue)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    let address = socket.local_addr()?.as_socket();
    address
        .map(|address| address.port())
        .ok_or_else(|| io::Error::other("the socket has no IP address"))
}

async fn accept(listener: &TcpListener, served: &Arc<Served>, sight: &FaultSight) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, Arc::clone(served), sight.clone()));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

type AnswerFuture = Pin<Box<dyn Future<Output = Result<Response<RegionBody>, BrokenOff>> + Send>>;

/// Serves one connection to its end, or resets it when the region fails.
async fn converse(stream: TcpStream, served: Arc<Served>, sight: FaultSight) {
    // Small answers must not wait for the peer's delayed acknowledgement; a socket that does not
    // take the option still works.
    let _ = stream.set_nodelay(true);
    let mut failing = sight.clone();
    let service = service_fn(move |request| -> AnswerFuture {
        let (served, sight) = (Arc::clone(&served), sight.clone());
        Box::pin(async move { served.answer(request, sight).await })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = &mut connection => {
            // What the peer did wrong, if anything, is no concern of a simulated region.
            if ended.is_ok() {
                return;
            }
        }
        () = failing.until(|fault| fault == Fault::Fail) => {}
    }
    let stream = connection.into_parts().io.into_inner();
    // Zero linger: the close is a reset, as from a machine that lost its process.
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
