//! The open-loop client: a request every few milliseconds, whether or not the last was answered.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::region::{BODY, field, find};

/// Requests a second.
pub(crate) const RATE: u32 = 200;
/// Every so many requests one is a write.
const WRITE_EVERY: u32 = 5;
/// When the client gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(12);

/// One request and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, since the start. Waiting for a late start is part of `wait`.
    pub(crate) due: Duration,
    /// From when it was due until its last byte, or until it had failed.
    pub(crate) wait: Duration,
    /// POST, not GET.
    pub(crate) is_write: bool,
    /// The status and whether the proxy explained itself, when an answer came.
    pub(crate) status: Option<(u16, bool)>,
    /// The region that gave a whole 200.
    pub(crate) region: Option<usize>,
}

struct Answer {
    status: u16,
    is_explained: bool,
    region: Option<usize>,
    is_whole: bool,
    is_kept: bool,
}

/// Connections that wait for a request.
type Pool = Arc<Mutex<Vec<TcpStream>>>;

/// Sends requests for `length` from `start` on, and waits for all that become of them.
pub(crate) async fn load(proxy: SocketAddr, start: Instant, length: Duration) -> Vec<Sample> {
    let pool = Pool::default();
    let mut tasks = JoinSet::new();
    let gap = Duration::from_secs(1) / RATE;
    for number in 0.. {
        let due = gap * number;
        if due >= length {
            break;
        }
        sleep_until(start + due).await;
        let pool = Arc::clone(&pool);
        tasks.spawn(async move {
            let is_write = number % WRITE_EVERY == WRITE_EVERY - 1;
            let write = is_write.then_some(number);
            ask(proxy, &pool, write, start, due).await
        });
    }
    tasks.join_all().await
}

/// Whether the proxy answers, and from the preferred region.
pub(crate) async fn is_ready(proxy: SocketAddr) -> bool {
    let sample = ask(
        proxy,
        &Pool::default(),
        None,
        Instant::now(),
        Duration::ZERO,
    )
    .await;
    sample.region == Some(0)
}

async fn ask(
    proxy: SocketAddr,
    pool: &Pool,
    write: Option<u32>,
    start: Instant,
    due: Duration,
) -> Sample {
    let answer = timeout_at(start + due + PATIENCE, exchange(proxy, pool, write)).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let status = answer.as_ref().ok();
    Sample {
        due,
        wait: start.elapsed().saturating_sub(due),
        is_write: write.is_some(),
        status: status.map(|answer| (answer.status, answer.is_explained)),
        region: status.and_then(|answer| {
            let is_good = answer.is_whole && answer.status == 200;
            answer.region.filter(|_| is_good)
        }),
    }
}

async fn exchange(proxy: SocketAddr, pool: &Pool, write: Option<u32>) -> io::Result<Answer> {
    let mut stream = match idle(pool) {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    let request = match write {
        None => "GET /data HTTP/1.1\r\nhost: bench.example\r\n\r\n".to_owned(),
        Some(id) => format!(
            "POST /data HTTP/1.1\r\nhost: bench.example\r\nx-write-id: {id}\r\n\
             content-type: text/plain\r\ncontent-length: 16\r\n\r\nsixteen bytes...",
        ),
    };
    stream.write_all(request.as_bytes()).await?;
    let answer = read(&mut stream).await?;
    if answer.is_kept {
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(stream);
    }
    Ok(answer)
}

/// A connection that was not closed in the meantime.
fn idle(pool: &Pool) -> Option<TcpStream> {
    let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(stream) = pool.pop() {
        let read = stream.try_read(&mut [0; 1]);
        if read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            return Some(stream);
        }
    }
    None
}

/// Reads a final answer; a broken body is an answer that is not whole.
async fn read(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut buffer = Vec::new();
    let head = loop {
        match find(&buffer, b"\r\n\r\n") {
            Some(at) if buffer.starts_with(b"HTTP/1.1 1") => drop(buffer.drain(..at + 4)),
            Some(at) => break at + 4,
            None if stream.read_buf(&mut buffer).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = field(&text, "content-length").and_then(|length| length.parse::<usize>().ok());
    let mut body = buffer.split_off(head);
    let is_framed = loop {
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
    let filled = body.iter().filter(|byte| **byte == b'x').count();
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        is_explained: field(&text, "proxy-status").is_some(),
        region: field(&text, "x-region").and_then(|region| region.parse().ok()),
        is_whole: is_framed && filled == BODY,
        is_kept: is_framed && field(&text, "connection") != Some("close"),
    })
}
