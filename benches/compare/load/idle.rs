//! Viewers who have connected, asked once, and stay.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};

use super::COUNTRY;
use crate::certificates::NAME;
use crate::origin::SMALL;

/// How long one may take to connect and to get its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The connections; dropping them closes them.
pub(crate) struct Idle(Vec<TcpStream>);

impl Idle {
    /// Opens them one after the other: a full handshake and a request each.
    pub(crate) fn open(
        address: SocketAddr,
        tls: &Arc<ClientConfig>,
        count: usize,
    ) -> io::Result<Self> {
        let mut all = Vec::with_capacity(count);
        for number in 1..=count {
            let told = |error| io::Error::other(format!("idle connection {number}: {error}"));
            all.push(visit(address, tls).map_err(told)?);
        }
        Ok(Self(all))
    }

    /// Whether all are still there.
    pub(crate) fn check(&self) -> io::Result<()> {
        let closed = self.0.iter().filter(|stream| !is_open(stream)).count();
        if closed == 0 {
            return Ok(());
        }
        let all = self.0.len();
        let problem = format!("{closed} of {all} idle connections were closed");
        Err(io::Error::other(problem))
    }
}

/// Connects and asks once. What TLS would need to go on is let go: nothing more will be said.
fn visit(address: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect_timeout(&address, PATIENCE)?;
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    let mut stream = Stream::new(&mut session, &mut tcp);
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {NAME}\r\n{}: {}\r\n\r\n",
        COUNTRY.0, COUNTRY.1
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut room = [0; 4096];
    loop {
        let read = stream.read(&mut room)?;
        answer.extend_from_slice(&room[..read]);
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() >= head + 4 + SMALL) {
            break;
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200 ") {
        return Err(io::Error::other("answered something other than 200"));
    }
    Ok(tcp)
}

/// Session tickets may wait to be read; after them there must be nothing, not even an end.
fn is_open(mut stream: &TcpStream) -> bool {
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let mut room = [0; 4096];
    loop {
        match stream.read(&mut room) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
