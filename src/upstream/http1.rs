//! HTTP/1.1 towards origins, one request at a time, driven by the request's own task.
//!
//! hyper's client runs a connection in a task of its own, which costs two wake-ups, a channel and a
//! copy of the header fields per request. `benches/README.md` has the numbers.

pub(crate) mod body;
mod chunked;
mod connection;
mod head;
mod limits;
mod request;
mod upload;

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use http::{Method, Response, StatusCode, Version, header};

use crate::upstream::body::{BodyError, RequestBody};
use crate::upstream::framing::{FramingError, settle_framing};
use crate::upstream::http1::body::{Coding, Http1Body};
use crate::upstream::http1::chunked::Chunks;
use crate::upstream::http1::head::{Head, head_end};
use crate::upstream::http1::upload::{Upload, UploadError};

pub use crate::upstream::http1::connection::{Http1Connection, Scratch};
pub use crate::upstream::http1::head::BadHead;
pub use crate::upstream::http1::limits::HeadLimits;
pub use crate::upstream::http1::request::RequestHead;

/// So many of the largest heads may come before an answer has begun: interim ones and the final
/// one. HTTP/1.1 allows any number of interim answers (RFC 9110 section 15.2); an origin that never
/// ends them would keep its worker busy.
const HEADS: usize = 8;

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
