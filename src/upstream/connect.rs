//! Dials one endpoint: TCP, then TLS, each timed.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use crate::stream::socket::Socket;
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::table::origin::{OriginHost, Region, UpstreamHttp};

/// An origin that vanished without a word is asked after this long: no other limit ends a tunnel.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why an endpoint could not be dialled.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// TCP said no.
    #[error("connection refused")]
    Refused,
    /// No TCP connection in time.
    #[error("no TCP connection within {0:?}")]
    ConnectTimeout(Duration),
    /// The network said no, or this machine has no socket left.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The handshake failed.
    #[error("TLS handshake failed: {0}")]
    Tls(io::Error),
    /// No TLS session in time.
    #[error("no TLS session within {0:?}")]
    TlsTimeout(Duration),
    /// The origin is to be spoken to over TLS, and nothing says how.
    #[error("the region has no settings for TLS")]
    NoTls,
    /// The name is no DNS name.
    #[error("{0:?} is no name a certificate can be checked against")]
    ServerName(String),
}

impl DialError {
    /// The error's kind for metrics and the retry rule.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused => ErrorKind::ConnectRefused,
            Self::ConnectTimeout(_) => ErrorKind::ConnectTimeout,
            Self::Connect(_) => ErrorKind::ConnectFailed,
            Self::Tls(_) | Self::ServerName(_) | Self::NoTls => ErrorKind::TlsFailed,
            Self::TlsTimeout(_) => ErrorKind::TlsTimeout,
        }
    }

    /// Whether this machine is at fault, for want of descriptors, ports or memory, or of settings
    /// that could work: that says nothing of the endpoint.
    #[must_use]
    pub fn is_our_own(&self) -> bool {
        let error = match self {
            Self::Connect(error) => error,
            Self::NoTls => return true,
            _ => return false,
        };
        let wants = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
        error.kind() == io::ErrorKind::AddrNotAvailable
            || wants
                .iter()
                .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

/// Where to dial, and as whom.
#[derive(Clone, Debug)]
pub struct DialTarget {
    /// The address.
    pub address: SocketAddr,
    /// TLS, and the name to ask for and to verify; `None`: plain TCP.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Whether it speaks HTTP/2 by prior knowledge, where TLS cannot say so.
    pub prior_knowledge: bool,
}

impl DialTarget {
    /// The target that `endpoint` of `region` is, with the region's TLS.
    pub fn of(
        region: &Region,
        endpoint: &EndpointState,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, DialError> {
        let address = endpoint.address;
        let Some(origin) = region.origins.get(usize::from(endpoint.origin)) else {
            return Err(DialError::Refused);
        };
        if !origin.tls {
            return Ok(Self {
                address,
                tls: None,
                prior_knowledge: region.upstream.http == UpstreamHttp::Http2,
            });
        }
        // Never in the clear instead.
        let config = tls.ok_or(DialError::NoTls)?;
        let name = match (&region.upstream.server_name, &origin.host) {
            (Some(name), _) => name.clone(),
            (None, OriginHost::Name(name)) => name.to_string(),
            (None, OriginHost::Address(address)) => address.to_string(),
        };
        let server_name =
            ServerName::try_from(name.clone()).map_err(|_| DialError::ServerName(name))?;
        Ok(Self {
            address,
            tls: Some((Arc::clone(config), server_name)),
            prior_knowledge: false,
        })
    }
}

/// A fresh connection.
#[derive(Debug)]
pub struct Dialed {
    /// The bytes' way.
    pub stream: UpstreamStream,
    /// What TCP and TLS took.
    pub phases: Phases,
    /// Whether it speaks HTTP/2: ALPN chose it, or it is known before.
    pub http2: bool,
}

/// A connection to an origin, plain or TLS.
#[derive(Debug)]
pub enum UpstreamStream {
    /// Plain TCP.
    Plain(Socket),
    /// TLS over TCP; boxed, its state is over a kilobyte.
    Tls(Box<tokio_rustls::client::TlsStream<Socket>>),
}

impl UpstreamStream {
    /// Whether the system has nothing to read. A system call: the runtime learns of what comes
    /// between two of its turns only.
    pub(super) fn is_silent(&self) -> bool {
        let tcp = match self {
            Self::Plain(socket) => socket.tcp(),
            Self::Tls(tls) => tls.get_ref().0.tcp(),
        };
        let peeked = SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// Dials `target`, for requests and probes alike; TCP and TLS may take `limit` each.
pub async fn dial(target: &DialTarget, limit: Duration) -> Result<Dialed, DialError> {
    let started = Instant::now();
    let tcp = match timeout(limit, TcpStream::connect(target.address)).await {
        Err(_) => return Err(DialError::ConnectTimeout(limit)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(DialError::Refused);
        }
        Ok(Err(error)) => return Err(DialError::Connect(error)),
        Ok(Ok(tcp)) => tcp,
    };
    // Requests are small and wait for their answer: Nagle would hold them back.
    let _ = tcp.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE);
    let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    let mut phases = Phases {
        connect: Some(started.elapsed()),
        ..Phases::default()
    };
    let Some((config, name)) = &target.tls else {
        return Ok(Dialed {
            stream: UpstreamStream::Plain(Socket::new(tcp)),
            phases,
            http2: target.prior_knowledge,
        });
    };
    let started = Instant::now();
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name.clone(), Socket::new(tcp));
    let tls = match timeout(limit, handshake).await {
        Err(_) => return Err(DialError::TlsTimeout(limit)),
        Ok(Err(error)) => return Err(DialError::Tls(error)),
        Ok(Ok(tls)) => tls,
    };
    phases.tls = Some(started.elapsed());
    let http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Dialed {
        stream: UpstreamStream::Tls(Box::new(tls)),
        phases,
        http2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_descriptors_is_no_fault_of_the_endpoint() {
        let failed =
            |errno: Errno| DialError::Connect(io::Error::from_raw_os_error(errno.raw_os_error()));
        assert!(failed(Errno::MFILE).is_our_own());
        assert!(failed(Errno::ADDRNOTAVAIL).is_our_own());
        assert!(!failed(Errno::HOSTUNREACH).is_our_own());
        assert!(!DialError::Refused.is_our_own());
    }
}
