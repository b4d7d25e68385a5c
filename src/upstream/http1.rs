//! HTTP/1.1 towards origins, one request at a time, driven by the request's own task.
//!
//! hyper's client runs a connection in a task of its own, which costs two wake-ups, a channel and a
//! copy of the header fields per request. `benches/README.md` has the numbers.

pub(crate) mod body;
mod chunked;
mod head;
mod request;
mod upload;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::{Method, Response, StatusCode, Version, header};
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};

use crate::upstream::body::{BodyError, RequestBody};
use crate::upstream::connect::UpstreamStream;
use crate::upstream::framing::{FramingError, settle_framing};
use crate::upstream::http1::body::{Coding, Http1Body};
use crate::upstream::http1::chunked::Chunks;
use crate::upstream::http1::head::{Head, head_end};
use crate::upstream::http1::upload::{Upload, UploadError};

pub use crate::upstream::http1::head::BadHead;
pub use crate::upstream::http1::request::RequestHead;

/// Bytes read at once while a head is awaited: with it, as a rule, comes the whole of a small answer.
const SCRATCH: usize = 16 << 10;

/// Bytes for a request's head that a connection keeps while it is idle.
const KEPT_OUTPUT: usize = 2 << 10;

/// So many of the largest heads may come before an answer has begun: interim ones and the final
/// one. HTTP/1.1 allows any number of interim answers (RFC 9110 section 15.2); an origin that never
/// ends them would keep its worker busy.
const HEADS: usize = 8;

/// No limit of heads is smaller.
const LEAST_HEAD: usize = 8192;

/// Bounds of one response head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Its bytes.
    pub bytes: usize,
    /// Its fields.
    pub fields: usize,
}

/// Where the connections of one worker read heads to, before it is known how long they are.
#[derive(Clone, Debug)]
pub struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH].into())))
    }
}

/// What came before the head of the final answer.
#[derive(Debug, Default)]
struct Awaited {
    /// Bytes of interim answers.
    interim: usize,
    /// Bytes of the next head in which its end was not found.
    searched: usize,
}

impl Awaited {
    /// Whether a head may end in `input`. What comes at once is parsed at once; later its end is
    /// searched for in what is new.
    fn may_end(&self, input: &[u8]) -> bool {
        match self.searched {
            0 => !input.is_empty(),
            searched => head_end(input, searched.saturating_sub(3)),
        }
    }
}

/// A connection that serves one request at a time.
#[derive(Debug)]
pub struct Http1Connection {
    stream: UpstreamStream,
    /// What was read and not used yet.
    input: BytesMut,
    /// What is to be written, from `written` on.
    output: Vec<u8>,
    written: usize,
    /// Whether any byte of the present request has left.
    has_sent: bool,
    /// The last answer had no body: should it have had one all the same, it may be about to come.
    is_doubted: bool,
    limits: HeadLimits,
    scratch: Scratch,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Http1Error {
    /// No byte of the request had left when the connection was found closed.
    #[error("closed before the request was written")]
    ClosedBeforeSend,
    /// The connection ended where an answer was due.
    #[error("closed")]
    Closed,
    /// The connection broke.
    #[error(transparent)]
    Broken(#[from] io::Error),
    /// What came is no head of a response, or beyond a limit.
    #[error(transparent)]
    BadHead(#[from] BadHead),
    /// More interim answers than are read.
    #[error("more interim answers than are read")]
    Chatter,
    /// The head leaves it in doubt where the body ends.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The request's body broke off.
    #[error(transparent)]
    Upload(#[from] BodyError),
}

impl Http1Connection {
    /// A fresh connection.
    #[must_use]
    pub fn new(stream: UpstreamStream, limits: HeadLimits, scratch: Scratch) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::with_capacity(KEPT_OUTPUT / 2),
            written: 0,
            has_sent: false,
            is_doubted: false,
            limits: HeadLimits {
                bytes: limits.bytes.max(LEAST_HEAD),
                ..limits
            },
            scratch,
        }
    }

    /// Whether it can take a request: the origin has neither closed it nor said anything unasked.
    /// Costs no system call unless something happened on it, or the last answer had no body.
    pub fn is_open(&mut self) -> bool {
        if self.is_doubted && !self.stream.is_silent() {
            return false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        let polled =
            tokio::io::AsyncRead::poll_read(Pin::new(&mut self.stream), &mut cx, &mut byte);
        polled.is_pending()
    }

    /// Sends a request and waits for the head of its answer. Dropping the future closes the
    /// connection.
    ///
    /// # Errors
    /// Why there is none; the connection is closed then.
    pub async fn exchange(
        mut self: Box<Self>,
        head: &RequestHead<'_>,
        body: RequestBody,
    ) -> Result<Response<Http1Body>, Http1Error> {
        let mut upload = Upload::begin(head, body, &mut self.output);
        self.has_sent = false;
        let mut awaited = Awaited::default();
        let mut write_error = None;
        let answer = poll_fn(|cx| {
            if write_error.is_none() {
                match upload.poll(cx, &mut self) {
                    Poll::Ready(Err(UploadError::Source(error))) => {
                        return Poll::Ready(Err(error.into()));
                    }
                    // What it has said before it closed may tell why.
                    Poll::Ready(Err(UploadError::Write(error))) => write_error = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            self.poll_head(cx, &mut awaited)
        });
        let answer = match (answer.await, write_error) {
            (Err(Http1Error::Closed | Http1Error::Broken(_)), Some(_)) if !self.has_sent => {
                return Err(Http1Error::ClosedBeforeSend);
            }
            (Err(Http1Error::Closed), Some(error)) => return Err(error.into()),
            (answer, _) => answer?,
        };
        self.answer(answer, upload, head.method)
    }

    fn answer(
        mut self: Box<Self>,
        head: Head,
        upload: Upload,
        asked: &Method,
    ) -> Result<Response<Http1Body>, Http1Error> {
        let mut response = head.response;
        let coding = coding(&mut response, asked, self.limits)?;
        self.is_doubted = matches!(coding, Coding::Length(0));
        Ok(response.map(|()| Http1Body::new(self, upload, coding)))
    }

    /// The head of the final answer; interim ones are passed over.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        awaited: &mut Awaited,
    ) -> Poll<Result<Head, Http1Error>> {
        loop {
            while awaited.may_end(&self.input) {
                let Some(head) = Head::parse(&mut self.input, self.limits)? else {
                    break;
                };
                awaited.searched = 0;
                if !head.is_interim() {
                    return Poll::Ready(Ok(head));
                }
                awaited.interim += head.length;
                if awaited.interim > self.limits.bytes.saturating_mul(HEADS) {
                    return Poll::Ready(Err(Http1Error::Chatter));
                }
            }
            if self.input.len() >= self.limits.bytes {
                return Poll::Ready(Err(BadHead::TooLarge.into()));
            }
            awaited.searched = self.input.len();
            if ready!(self.poll_fill_small(cx))? == 0 {
                return Poll::Ready(Err(Http1Error::Closed));
            }
        }
    }

    /// Reads more, into memory of just the size of what came; 0 at the connection's end.
    fn poll_fill_small(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.scratch.0.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(&mut self.stream),
            cx,
            &mut buffer
        ))?;
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads up to `room` bytes more; 0 at the connection's end.
    fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < room / 2 {
            if self.input.is_empty() {
                self.input = BytesMut::with_capacity(room);
            } else {
                self.input.reserve(room);
            }
        }
        // Reads once: the future keeps nothing between polls.
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if polled.is_pending() && self.input.is_empty() {
            // A stream of events may say nothing for long: none keeps so much room meanwhile.
            self.input = BytesMut::new();
        }
        polled
    }

    /// Writes all of the output, then `rest`, as far as the origin takes it.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut bytes::Bytes,
    ) -> Poll<io::Result<()>> {
        while self.written < self.output.len() || !rest.is_empty() {
            let output = &self.output[self.written..];
            let stream = Pin::new(&mut self.stream);
            let count = if rest.is_empty() {
                ready!(stream.poll_write(cx, output))?
            } else if output.is_empty() {
                ready!(stream.poll_write(cx, rest))?
            } else {
                let both = [io::IoSlice::new(output), io::IoSlice::new(rest)];
                ready!(stream.poll_write_vectored(cx, &both))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_sent = true;
            let of_output = count.min(self.output.len() - self.written);
            self.written += of_output;
            bytes::Buf::advance(rest, count - of_output);
        }
        self.output.clear();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Gives back the memory that only a request needs; a small buffer stays for the next one.
    fn park(&mut self) {
        self.input = BytesMut::new();
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
    }
}

/// How the body of `response` to a request of method `asked` is told from what follows it (RFC 9112
/// section 6.3).
fn coding(
    response: &mut Response<()>,
    asked: &Method,
    limits: HeadLimits,
) -> Result<Coding, Http1Error> {
    let status = response.status();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Coding::Switched);
    }
    settle_framing(response.headers_mut())?;
    if status == StatusCode::NO_CONTENT {
        // It must not have one (RFC 9110 section 8.6).
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    let headers = response.headers();
    let is_empty = asked == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if is_empty {
        return Ok(Coding::Length(0));
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if response.version() == Version::HTTP_10 {
            return Err(FramingError::Coding.into());
        }
        return Ok(Coding::Chunked(Box::new(Chunks::new(limits))));
    }
    let Some(length) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(Coding::Close);
    };
    let length = length
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Ok(Coding::Length(length.ok_or(FramingError::Length)?))
}
