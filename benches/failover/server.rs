//! The port of an endpoint, and its connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use crate::endpoint::{Endpoint, Kind};
use crate::fault::Behaviour;
use crate::{http1, http2};

impl Endpoint {
    /// Lives until the program drops it.
    pub(crate) async fn run(mut self) {
        loop {
            let now = *self.behaviour.borrow_and_update();
            match now {
                Behaviour::Down => {
                    if self.behaviour.changed().await.is_err() {
                        return;
                    }
                }
                Behaviour::Blackhole => self.swallow().await,
                _ => self.listen().await,
            }
        }
    }

    /// Accepts until the port is to close.
    async fn listen(&mut self) {
        let Ok(listener) = bind(self.address, 4096) else {
            sleep(Duration::from_millis(5)).await;
            return;
        };
        let mut behaviour = self.behaviour.clone();
        loop {
            tokio::select! {
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    tokio::spawn(self.clone().converse(stream));
                },
                _ = behaviour.wait_for(|now| is_closed(*now)) => return,
            }
        }
    }

    /// Listens with a queue that is full, so that the kernel drops every SYN.
    async fn swallow(&mut self) {
        let Ok(_listener) = bind(self.address, 0) else {
            sleep(Duration::from_millis(5)).await;
            return;
        };
        let mut held = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(20), TcpStream::connect(self.address)).await
        {
            held.push(stream);
        }
        let _ = self.behaviour.changed().await;
    }

    /// Serves one connection; it is reset when the region goes down or the fault wants it.
    async fn converse(self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut behaviour = self.behaviour.clone();
        let is_reset = tokio::select! {
            ended = self.speak(&mut stream) => ended.is_err(),
            _ = behaviour.wait_for(|now| is_closed(*now)) => true,
        };
        if is_reset {
            let _ = stream.set_zero_linger();
        }
    }

    async fn speak(&self, stream: &mut TcpStream) -> io::Result<()> {
        let certificates = match &self.kind {
            Kind::Plain => return http1::serve(self, stream).await,
            Kind::Http2 => return http2::serve(self, stream).await,
            Kind::Tls(certificates) => certificates,
        };
        let acceptor = match self.now() {
            now @ Behaviour::HandshakeHang => {
                let mut unread = Vec::new();
                tokio::select! {
                    _ = stream.read_to_end(&mut unread) => {}
                    () = self.changed_from(now) => {}
                }
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Behaviour::Expired => &certificates.expired,
            _ => &certificates.good,
        };
        let mut stream = acceptor.accept(stream).await?;
        http1::serve(self, &mut stream).await
    }
}

fn is_closed(now: Behaviour) -> bool {
    matches!(now, Behaviour::Down | Behaviour::Blackhole)
}

fn bind(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(backlog)
}
