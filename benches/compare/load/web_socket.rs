//! WebSockets: each connection sends a message when the last one has come back.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout_at};

use super::COUNTRY;
use crate::certificates::NAME;

/// Bytes of a message with its frame. What they are is no proxy's business.
const MESSAGE: usize = 128;
/// How long after the end a last echo may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps so many connections busy for `length`.
pub(super) fn run(address: SocketAddr, connections: u32, length: Duration) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let until = Instant::now() + length;
        let mut all = JoinSet::new();
        for _ in 0..connections {
            all.spawn_local(timeout_at(until + PATIENCE, converse(address, until)));
        }
        while let Some(ended) = all.join_next().await {
            ended.map_err(io::Error::other)???;
        }
        Ok(())
    })
}

async fn converse(address: SocketAddr, until: Instant) -> io::Result<()> {
    let mut stream = upgraded(address).await?;
    let (sent, mut received) = ([b'x'; MESSAGE], [0; MESSAGE]);
    while Instant::now() < until {
        stream.write_all(&sent).await?;
        stream.read_exact(&mut received).await?;
    }
    Ok(())
}

async fn upgraded(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET /chat HTTP/1.1\r\nhost: {NAME}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\
         {}: {}\r\n\r\n",
        COUNTRY.0, COUNTRY.1
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        // Byte by byte: what follows the head is not ours to read here.
        answer.push(stream.read_u8().await?);
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    let line = String::from_utf8_lossy(&answer);
    let line = line.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("no upgrade but {line}")))
}
