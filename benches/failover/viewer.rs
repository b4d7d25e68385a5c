//! The open-loop client: a request every few milliseconds, whether or not the last was answered.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::endpoint::BODY;
use crate::http1::{field, find};
use crate::large;
use crate::setup::Setup;

/// Requests a second.
pub(crate) const RATE: u32 = 200;
/// Every so many requests one is a write.
const WRITE_EVERY: u32 = 5;
/// When the client gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// Where there are downloads, every so many requests one is, and which of them.
const DOWNLOAD_EVERY: u32 = 100;
const DOWNLOAD_AT: u32 = 50;
/// Requests that are sent at once where there is a burst.
pub(crate) const BURST: u32 = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Post,
    /// A GET of the large body.
    Download,
    /// A GET of the burst, which is counted apart.
    Burst,
}

/// What to send, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) proxy: SocketAddr,
    pub(crate) setup: Setup,
    pub(crate) start: Instant,
    /// For how long.
    pub(crate) length: Duration,
    /// When the fault begins, since the start.
    pub(crate) fault: Duration,
}

/// One request and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, since the start. Waiting for a late start is part of `wait`.
    pub(crate) due: Duration,
    /// From when it was due until its last byte, or until it had failed.
    pub(crate) wait: Duration,
    pub(crate) kind: Kind,
    /// The status and whether the proxy explained itself, when an answer came.
    pub(crate) status: Option<(u16, bool)>,
    /// The region that gave a whole 200.
    pub(crate) region: Option<usize>,
}

struct Answer {
    status: u16,
    is_explained: bool,
    region: Option<usize>,
    /// What the whole body is; neither if it is broken or other bytes.
    content: Option<Content>,
    is_kept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Small,
    Large,
}

/// Connections that wait for a request.
type Pool = Arc<Mutex<Vec<TcpStream>>>;

/// Sends requests, and waits for all that become of them.
pub(crate) async fn load(load: Load) -> Vec<Sample> {
    let pool = Pool::default();
    let mut tasks = JoinSet::new();
    let gap = Duration::from_secs(1) / RATE;
    let mut is_burst_due = load.setup == Setup::Burst;
    for number in 0.. {
        let due = gap * number;
        if due >= load.length {
            break;
        }
        sleep_until(load.start + due).await;
        let mut send = |kind, number| {
            let pool = Arc::clone(&pool);
            tasks.spawn(
                async move { ask(load.proxy, &pool, (kind, number), load.start, due).await },
            );
        };
        if is_burst_due && due >= load.fault {
            is_burst_due = false;
            (0..BURST).for_each(|number| send(Kind::Burst, number));
        }
        send(kind(load.setup, number), number);
    }
    tasks.join_all().await
}

fn kind(setup: Setup, number: u32) -> Kind {
    if number % WRITE_EVERY == WRITE_EVERY - 1 {
        Kind::Post
    } else if setup == Setup::Downloads && number % DOWNLOAD_EVERY == DOWNLOAD_AT {
        Kind::Download
    } else {
        Kind::Get
    }
}

/// The region that answers now, if the proxy does.
pub(crate) async fn served_by(proxy: SocketAddr) -> Option<usize> {
    let pool = Pool::default();
    let now = Instant::now();
    ask(proxy, &pool, (Kind::Get, 0), now, Duration::ZERO)
        .await
        .region
}

async fn ask(
    proxy: SocketAddr,
    pool: &Pool,
    (kind, number): (Kind, u32),
    start: Instant,
    due: Duration,
) -> Sample {
    let request = request(kind, number);
    let answer = timeout_at(start + due + PATIENCE, exchange(proxy, pool, &request)).await;
    let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let status = answer.as_ref().ok();
    Sample {
        due,
        wait: start.elapsed().saturating_sub(due),
        kind,
        status: status.map(|answer| (answer.status, answer.is_explained)),
        region: status.and_then(|answer| {
            let expected = if kind == Kind::Download {
                Content::Large
            } else {
                Content::Small
            };
            let is_good = answer.content == Some(expected) && answer.status == 200;
            answer.region.filter(|_| is_good)
        }),
    }
}

fn request(kind: Kind, number: u32) -> String {
    let host = "HTTP/1.1\r\nhost: bench.example\r\n";
    match kind {
        Kind::Get => format!("GET /data {host}\r\n"),
        Kind::Download => format!("GET /large {host}\r\n"),
        Kind::Burst => format!("GET /data {host}x-burst-id: {number}\r\n\r\n"),
        Kind::Post => format!(
            "POST /data {host}x-write-id: {number}\r\ncontent-type: text/plain\r\n\
             content-length: 16\r\n\r\nsixteen bytes...",
        ),
    }
}

async fn exchange(proxy: SocketAddr, pool: &Pool, request: &str) -> io::Result<Answer> {
    let mut stream = match idle(pool) {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(proxy).await?;
            stream.set_nodelay(true)?;
            stream
        }
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
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let status = text.split(' ').nth(1).and_then(|code| code.parse().ok());
    let length = field(&text, "content-length").and_then(|length| length.parse::<usize>().ok());
    let mut body = buffer.split_off(head);
    body.reserve(length.unwrap_or(0).min(large::LENGTH));
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
    let content = if length == Some(large::LENGTH) {
        (body == *large::BODY).then_some(Content::Large)
    } else {
        // A body in chunks has other bytes between them.
        let filled = body.iter().filter(|byte| **byte == b'x').count();
        (filled == BODY).then_some(Content::Small)
    };
    Ok(Answer {
        status: status.ok_or(io::ErrorKind::InvalidData)?,
        is_explained: field(&text, "proxy-status").is_some(),
        region: field(&text, "x-region").and_then(|region| region.parse().ok()),
        content: content.filter(|_| is_framed),
        is_kept: is_framed && !is_close(&text),
    })
}

fn is_close(head: &str) -> bool {
    field(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
}
