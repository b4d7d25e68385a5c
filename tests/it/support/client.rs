//! A client that shows exactly what a viewer sees.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::client::TlsStream;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// Fields.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Bytes,
    /// Trailers, if any came.
    pub(crate) trailers: Option<HeaderMap>,
}

impl Reply {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field as text, or nothing.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// Reads a whole response; an error when its body breaks off.
pub(crate) async fn whole<B>(response: Response<B>) -> Result<Reply, B::Error>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: collected.to_bytes(),
        trailers,
    })
}

/// One request over a connection of its own, plain HTTP/1.1.
pub(crate) async fn send(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Reply> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection.with_upgrades());
    whole(sender.send_request(request).await?).await
}

/// The same from an address of the viewer's own, which must be a loopback one.
pub(crate) async fn send_from(
    viewer: Ipv4Addr,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Reply, Box<dyn std::error::Error + Send + Sync>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((viewer, 0).into())?;
    let stream = socket.connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(whole(sender.send_request(request).await?).await?)
}

/// One request over a connection of its own, HTTP/2 by prior knowledge.
pub(crate) async fn send_http2(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> hyper::Result<Reply> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    whole(sender.send_request(request).await?).await
}

/// `GET path` with these fields, for the host `test.example`.
pub(crate) async fn get(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Reply {
    send(address, request("GET", path, fields, ""))
        .await
        .unwrap()
}

/// A request for the host `test.example`.
pub(crate) fn request(
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "test.example");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Writes bytes as they are and reads all that comes back until the peer closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    raw_over(TcpStream::connect(address).await.unwrap(), bytes).await
}

/// Writes bytes, then reads all that comes back until the peer closes, over a stream that is open.
pub(crate) async fn raw_over<T: AsyncRead + AsyncWrite + Unpin>(
    mut stream: T,
    bytes: &[u8],
) -> String {
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A TLS session with `address`, over which `first` was sent in the clear.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    config: Arc<rustls::ClientConfig>,
    first: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(first).await?;
    let name = rustls::pki_types::ServerName::try_from("test.example").unwrap();
    tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
}
