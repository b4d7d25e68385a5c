//! Who asks the proxy from one address, over HTTP/1.1 connections that are kept.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::endpoint::BODY;
use crate::http1::{field, find};
use crate::large;

/// One address that asks.
pub(crate) struct Caller {
    proxy: SocketAddr,
    /// A loopback address: viewers are told apart by theirs.
    from: Ipv4Addr,
    /// Connections that wait for a request.
    idle: Mutex<Vec<TcpStream>>,
}

/// An answer as it came.
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Whether the body came to its end.
    pub(crate) is_whole: bool,
}

/// An answer of a region of this bench, understood.
pub(crate) struct Heard {
    pub(crate) status: u16,
    /// Whether the proxy explained itself.
    pub(crate) is_explained: bool,
    pub(crate) region: Option<usize>,
    /// What the whole body is; neither if it is broken or other bytes.
    pub(crate) whole: Option<Whole>,
}

/// A body that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    Small,
    Large,
}

impl Caller {
    /// Nobody is connected yet.
    pub(crate) fn new(proxy: SocketAddr, from: Ipv4Addr) -> Self {
        Self {
            proxy,
            from,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and understands its answer. Dropped before the end, it closes the connection.
    pub(crate) async fn exchange(&self, request: &str) -> io::Result<Heard> {
        self.receive(request).await?.heard()
    }

    /// Sends a request and reads its answer. Dropped before the end, it closes the connection.
    pub(crate) async fn receive(&self, request: &str) -> io::Result<Received> {
        let mut stream = match self.idle() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(request.as_bytes()).await?;
        let received = read(&mut stream).await?;
        if received.is_whole && !is_close(&received.head) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(stream);
        }
        Ok(received)
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        let stream = socket.connect(self.proxy).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// A connection that was not closed in the meantime.
    fn idle(&self) -> Option<TcpStream> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(stream) = idle.pop() {
            let read = stream.try_read(&mut [0; 1]);
            if read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
        None
    }
}

impl Received {
    pub(crate) fn status(&self) -> io::Result<u16> {
        let code = self.head.split(' ').nth(1);
        let code = code.and_then(|code| code.parse().ok());
        code.ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    fn heard(self) -> io::Result<Heard> {
        let region = field(&self.head, "x-region");
        let whole = if self.body.len() == large::LENGTH {
            (self.body == *large::BODY).then_some(Whole::Large)
        } else {
            // A body in chunks has other bytes between them.
            let filled = self.body.iter().filter(|byte| **byte == b'x').count();
            (filled == BODY).then_some(Whole::Small)
        };
        Ok(Heard {
            status: self.status()?,
            is_explained: field(&self.head, "proxy-status").is_some(),
            region: region.and_then(|region| region.parse().ok()),
            whole: whole.filter(|_| self.is_whole),
        })
    }
}

/// Reads a final answer; a broken body is an answer that is not whole.
async fn read(stream: &mut TcpStream) -> io::Result<Received> {
    let mut buffer = Vec::new();
    let at = loop {
        match find(&buffer, b"\r\n\r\n") {
            Some(at) if buffer.starts_with(b"HTTP/1.1 1") => drop(buffer.drain(..at + 4)),
            Some(at) => break at + 4,
            None if stream.read_buf(&mut buffer).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    };
    let mut body = buffer.split_off(at);
    let head = String::from_utf8_lossy(&buffer).into_owned();
    let length = field(&head, "content-length").and_then(|length| length.parse::<usize>().ok());
    body.reserve(length.unwrap_or(0).min(large::LENGTH));
    let is_whole = loop {
        let is_end = match length {
            Some(length) => body.len() >= length,
            None => body.ends_with(b"0\r\n\r\n"),
        };
        if is_end {
            break true;
        }
        match stream.read_buf(&mut body).await {
            Ok(0) | Err(_) => break false,
            Ok(_) => {}
        }
    };
    Ok(Received {
        head,
        body,
        is_whole,
    })
}

fn is_close(head: &str) -> bool {
    field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}
