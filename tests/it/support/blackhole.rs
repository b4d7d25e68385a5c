//! A network that drops every packet on the way to an origin.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::support::origin::FakeOrigin;

/// A port whose queue is full: nothing is refused, and nobody gets through.
pub(crate) struct Blackhole {
    _listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl FakeOrigin {
    /// Puts one in the origin's place until what this gives is dropped; then
    /// [`FakeOrigin::revive`] may follow.
    pub(crate) async fn blackhole(&mut self) -> Blackhole {
        self.kill().await;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&self.address.into()).unwrap();
        socket.listen(0).unwrap();
        let mut waiting = Vec::new();
        // The kernel drops what comes once the queue of those who wait is full.
        let soon = Duration::from_millis(50);
        while let Ok(stream) = tokio::time::timeout(soon, TcpStream::connect(self.address)).await {
            waiting.push(stream.unwrap());
        }
        Blackhole {
            _listener: socket,
            _waiting: waiting,
        }
    }
}
