//! Where one proxy of one row stands.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::ground::Ground;
use crate::proxy::Proxy;
use crate::row::Row;

/// What settings need to know.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) row: Row,
    /// Where the proxy is to listen.
    pub(crate) address: SocketAddr,
    pub(crate) origin: SocketAddr,
    /// For its files; the certificates are there.
    pub(crate) folder: PathBuf,
    /// Threads or workers that serve.
    pub(crate) threads: usize,
    /// Viewers' connections at a time, at most.
    pub(crate) connections: usize,
    /// How often the routes have changed; the path of the first one says it.
    pub(crate) revision: usize,
}

impl Site {
    /// One with a single thread. Its folder is called after `name` and the proxy.
    pub(crate) fn new(row: Row, name: &str, proxy: Proxy, ground: &Ground) -> io::Result<Self> {
        Ok(Self {
            row,
            address: free_address()?,
            origin: ground.origins.address(row.origins),
            folder: ground.folder.join(name).join(proxy.name()),
            threads: 1,
            connections: 9_000,
            revision: 0,
        })
    }

    /// How the paths of each route begin.
    pub(crate) fn paths(&self) -> Vec<String> {
        if self.row.routes == 1 {
            return vec!["/".to_owned()];
        }
        let changing = format!("/r00000-{}/", self.revision);
        let others = (1..self.row.routes).map(path);
        std::iter::once(changing).chain(others).collect()
    }
}

/// The path of a route that never changes.
pub(crate) fn path(number: usize) -> String {
    format!("/r{number:05}/")
}

/// An address that nobody has, below the range of outgoing connections.
fn free_address() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..200 {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(15_000..32_000)));
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
