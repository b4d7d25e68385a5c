//! Streams of small messages over HTTP/2, as gRPC has them: each waits for its echo.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{Request, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::COUNTRY;
use crate::certificates::NAME;
use crate::origin::ECHO_PATH;

/// Bytes of a message.
const MESSAGE: usize = 100;
/// How long after the end a last echo may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps so many streams on each of so many connections busy for `length`.
pub(super) fn run(
    address: SocketAddr,
    tls: &Arc<ClientConfig>,
    connections: u32,
    streams: u32,
    length: Duration,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let until = Instant::now() + length;
        let mut all = JoinSet::new();
        for _ in 0..connections {
            let client = connect(address, tls).await?;
            for _ in 0..streams {
                all.spawn_local(timeout_at(until + PATIENCE, stream(client.clone(), until)));
            }
        }
        while let Some(ended) = all.join_next().await {
            ended.map_err(io::Error::other)???;
        }
        Ok(())
    })
}

async fn connect(address: SocketAddr, tls: &Arc<ClientConfig>) -> io::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
    let (client, connection) = h2::client::handshake(stream.await?)
        .await
        .map_err(io::Error::other)?;
    // Its error is each stream's as well.
    tokio::task::spawn_local(async move { connection.await.ok() });
    Ok(client)
}

/// One stream, from its first message to its end.
async fn stream(client: SendRequest<Bytes>, until: Instant) -> io::Result<()> {
    let mut client = client.ready().await.map_err(io::Error::other)?;
    let request = Request::post(format!("https://{NAME}{ECHO_PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(COUNTRY.0, COUNTRY.1)
        .body(())
        .map_err(io::Error::other)?;
    let (answer, mut sink) = client
        .send_request(request, false)
        .map_err(io::Error::other)?;
    let message = message();
    sink.send_data(message.clone(), false)
        .map_err(io::Error::other)?;
    let answer = answer.await.map_err(io::Error::other)?;
    if answer.status() != StatusCode::OK {
        return Err(io::Error::other(format!("answered {}", answer.status())));
    }
    let mut body = answer.into_body();
    let mut is_last = false;
    while !is_last {
        receive(&mut body).await?;
        is_last = Instant::now() >= until;
        // The end comes with a message: frames without any, from all streams at once, are what
        // Envoy takes for an attack.
        sink.send_data(message.clone(), is_last)
            .map_err(io::Error::other)?;
    }
    receive(&mut body).await?;
    match body.data().await {
        None => Ok(()),
        Some(Err(error)) => Err(io::Error::other(error)),
        Some(Ok(data)) if data.is_empty() => Ok(()),
        Some(Ok(_)) => Err(io::Error::other("more came back than was sent")),
    }
}

/// The echo of one message, in whatever pieces.
async fn receive(body: &mut RecvStream) -> io::Result<()> {
    let mut missing = MESSAGE;
    while missing > 0 {
        let data = body.data().await.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = data.map_err(io::Error::other)?.len();
        let flow = body.flow_control();
        flow.release_capacity(length).map_err(io::Error::other)?;
        let rest = missing.checked_sub(length);
        missing = rest.ok_or_else(|| io::Error::other("more came back than was sent"))?;
    }
    Ok(())
}

/// A message as gRPC frames it: not compressed, its length, its bytes.
fn message() -> Bytes {
    let length = u32::try_from(MESSAGE - 5).expect("a message is small");
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.resize(MESSAGE, b'x');
    bytes.into()
}
