//! The sockets of one listening address: one per worker, so that the kernel spreads connections
//! and no two workers meet at one queue.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

/// Connections that the kernel keeps until a worker takes them; the system may allow fewer.
const BACKLOG: i32 = 4096;

/// A viewer that is silent is asked after this long whether it is still there, and again after so
/// long if it does not say: one that vanished is found out within 40 s, whatever it speaks.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 2;

/// How often and how long apart a taken address is asked for. Workers follow a reload within
/// milliseconds.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// Why an address cannot be listened at.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Someone else has it.
    #[error("cannot listen at {0}: the address is taken by another process")]
    Taken(SocketAddr),
    /// Ports below 1024 are kept for root.
    #[error("cannot listen at {0}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE")]
    Denied(SocketAddr),
    /// No such address here, or no descriptor left.
    #[error("cannot listen at {address}: {cause}")]
    Failed {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

impl BindError {
    fn of(address: SocketAddr, cause: io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(address),
            io::ErrorKind::PermissionDenied => Self::Denied(address),
            _ => Self::Failed { address, cause },
        }
    }
}

/// Bound and listening sockets for one address. They stay open until every worker that took its
/// own has closed it and this is dropped.
#[derive(Debug)]
pub struct Bound {
    address: SocketAddr,
    sockets: Mutex<Vec<Option<TcpListener>>>,
}

impl Bound {
    /// Opens one socket for each of `workers`. Port 0 means any free port, the same for all.
    /// `ours` says that this process listens at the port already, at an address that may overlap
    /// with this one (`0.0.0.0` with `127.0.0.1`): then it is free for us.
    ///
    /// # Errors
    /// When the address is taken, forbidden or not this machine's.
    pub fn bind(address: SocketAddr, workers: usize, ours: bool) -> Result<Self, BindError> {
        let failed = |cause| BindError::of(address, cause);
        // Sockets with SO_REUSEPORT would share the port with another process of the same user
        // without a word. A bind without it finds such a process; between the two binds another
        // process could still slip in. A free port that the system picks is nobody's.
        if !ours && address.port() != 0 {
            open_patiently(address, false).map_err(failed)?;
        }
        let first = open_patiently(address, true).map_err(failed)?;
        let mut concrete = address;
        let bound = first.local_addr().map_err(failed)?;
        concrete.set_port(
            bound
                .as_socket()
                .map_or_else(|| address.port(), |bound| bound.port()),
        );
        let others = (1..workers.max(1)).map(|_| open(concrete, true));
        let sockets = std::iter::once(Ok(first)).chain(others).map(|socket| {
            let socket = socket?;
            socket.listen(BACKLOG)?;
            Ok(Some(TcpListener::from(socket)))
        });
        let sockets = sockets.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        Ok(Self {
            address: concrete,
            sockets: Mutex::new(sockets),
        })
    }

    /// Where it listens; the port is the real one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket of one worker; `None` when it was taken before.
    #[must_use]
    pub fn take(&self, worker: usize) -> Option<TcpListener> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.get_mut(worker).and_then(Option::take)
    }
}

/// A listener that a reload took away a moment ago may be open until every worker has followed,
/// so that a taken address is asked for again.
fn open_patiently(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let mut tries = TRIES;
    loop {
        match open(address, shared) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 1 => {
                tries -= 1;
                std::thread::sleep(BETWEEN_TRIES);
            }
            outcome => return outcome,
        }
    }
}

/// A socket bound to `address`: with others that are `shared`, or alone.
fn open(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Inherited by every connection that is accepted: no call per connection for either.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_AGAIN)
            .with_retries(KEEPALIVE_RETRIES),
    )?;
    socket.bind(&address.into())?;
    if !shared {
        // On Linux two sockets may bind one address before either listens; only listening says
        // whether it is free.
        socket.listen(1)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_listen_at_one_port() {
        let bound = Bound::bind("127.0.0.1:0".parse().unwrap(), 3, false).unwrap();
        assert_ne!(bound.address().port(), 0);
        for worker in 0..3 {
            let socket = bound.take(worker).unwrap();
            assert_eq!(socket.local_addr().unwrap(), bound.address());
            assert!(bound.take(worker).is_none());
        }
    }

    #[test]
    fn a_taken_address_is_said_to_be_taken() {
        let first = Bound::bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let error = Bound::bind(first.address(), 1, false).unwrap_err();
        assert!(matches!(error, BindError::Taken(_)), "{error}");
    }

    #[test]
    fn an_address_that_is_left_within_a_moment_is_not_taken() {
        let first = Bound::bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let address = first.address();
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(BETWEEN_TRIES);
            drop(first);
        });
        let second = Bound::bind(address, 1, false);
        leaving.join().unwrap();
        assert_eq!(second.unwrap().address(), address);
    }

    #[test]
    fn a_port_that_is_ours_already_is_not_taken() {
        let first = Bound::bind("127.0.0.1:0".parse().unwrap(), 1, false).unwrap();
        let second = Bound::bind(first.address(), 1, true).unwrap();
        assert_eq!(second.address(), first.address());
    }
}
