//! HTTP/1.1 as the simulated regions speak it.

use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until};

use crate::endpoint::{Answer, Asked, Content, Endpoint, Reply};
use crate::fault::Behaviour;
use crate::large;

/// A request head larger than this is not from our client.
const HEAD_LIMIT: usize = 64 * 1024;

/// Answers all requests of a connection. An error resets it.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    stream: &mut S,
) -> io::Result<()> {
    let opened = endpoint.now();
    let mut buffer = Vec::new();
    loop {
        let asked = tokio::select! {
            biased;
            asked = read(stream, &mut buffer) => asked?,
            () = endpoint.sends_away(opened) => None,
        };
        let Some(asked) = asked else {
            return stream.shutdown().await;
        };
        match endpoint.reply(&asked).await {
            Reply::Reset | Reply::Refused => return Err(io::ErrorKind::ConnectionReset.into()),
            Reply::Silence(so) => {
                endpoint.changed_from(so).await;
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            Reply::Answer(answer) => send(endpoint, stream, answer).await?,
        }
    }
}

async fn send<S: AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    stream: &mut S,
    answer: Answer,
) -> io::Result<()> {
    let status = http::StatusCode::from_u16(answer.status).map_err(io::Error::other)?;
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in &answer.fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", answer.length);
    let mut bytes = head.into_bytes();
    match answer.content {
        Content::Whole(content) => {
            bytes.extend(content);
            stream.write_all(&bytes).await?;
            stream.flush().await
        }
        Content::Cut(content, so) => {
            bytes.extend(content);
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            endpoint.changed_from(so).await;
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Content::Large(range, pause) => {
            stream.write_all(&bytes).await?;
            send_large(endpoint, stream, range, pause).await
        }
    }
}

/// Sends bytes of the large body when they are due, and past the middle only if the fault lets it.
async fn send_large<S: AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    stream: &mut S,
    mut rest: Range<usize>,
    pause: Option<Duration>,
) -> io::Result<()> {
    let (part, pace) = match pause {
        Some(pause) => (large::LENGTH / 4, pause),
        None => (large::PART, large::PACE),
    };
    let mut due = Instant::now();
    while !rest.is_empty() {
        let mut end = rest.end.min(rest.start + part);
        if rest.start < large::MIDDLE {
            end = end.min(large::MIDDLE);
        } else if let now @ (Behaviour::CutDownload | Behaviour::StallDownload) = endpoint.now() {
            if now == Behaviour::StallDownload {
                endpoint.changed_from(now).await;
            }
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        stream.write_all(&large::BODY[rest.start..end]).await?;
        rest.start = end;
        due += pace;
        if !rest.is_empty() {
            sleep_until(due).await;
        }
    }
    stream.flush().await
}

/// The next request, its body read; `None` at an orderly end. What was read stays in `buffer`.
async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<Asked>> {
    let head = loop {
        if let Some(at) = find(buffer, b"\r\n\r\n") {
            break at + 4;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).into_owned();
    let end = if field(&text, "transfer-encoding").is_some() {
        more_until(stream, buffer, head, |body| {
            find(body, b"0\r\n\r\n").map(|at| at + 5)
        })
        .await?
    } else {
        let length = field(&text, "content-length").and_then(|value| value.parse().ok());
        let length: usize = length.unwrap_or(0);
        more_until(stream, buffer, head, |body| {
            (body.len() >= length).then_some(length)
        })
        .await?
    };
    buffer.drain(..end);
    let mut words = text.split(' ');
    let method = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    Ok(Some(Asked::of(method, path, |name| field(&text, name))))
}

/// Reads until `whole` finds the end of the body after `head`; gives the end of the request.
async fn more_until<S: AsyncRead + Unpin>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    head: usize,
    whole: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<usize> {
    loop {
        if let Some(length) = whole(&buffer[head..]) {
            return Ok(head + length);
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where `wanted` begins.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}

/// The value of a field in a head.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
