//! Where one proxy of one row stands.

use std::net::SocketAddr;
use std::path::PathBuf;

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
}
