//! One request and the head of its response, on a connection already open.

use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use hyper::client::conn::http2;
use tokio::time::{Instant, timeout_at};

use crate::upstream::answer::AnswerBody;
use crate::upstream::body::{Progress, ReplaySource, RequestBody};
use crate::upstream::framing::{FramingError, settle_framing};
use crate::upstream::http1::{BadHead, Http1Connection, Http1Error, RequestHead};
use crate::upstream::stream_token::StreamToken;
use meridian_core::model::outcome::ErrorKind;

/// Why there is no response head.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection was closed before the request was written to it.
    #[error("the connection closed before the request was written")]
    ClosedBeforeSend,
    /// The origin proved that it did not process the request.
    #[error("the origin did not process the request: {reason}")]
    Unprocessed {
        /// Why, as it says.
        reason: h2::Reason,
        /// Whether the connection has served another one.
        served: bool,
    },
    /// The connection broke before any byte of a response.
    #[error("the connection broke before a response: {source}")]
    Reset {
        /// Whether the connection had served a request before.
        reused: bool,
        /// What is known of it.
        source: BrokenConnection,
    },
    /// No response head in time.
    #[error("no response head within {0:?}")]
    FirstByteTimeout(Duration),
    /// What came was no HTTP, or beyond a limit.
    #[error("the response cannot be read: {0}")]
    BadResponse(Unreadable),
    /// Interim answers without end.
    #[error("the origin sent more interim answers than are read")]
    Chatter,
    /// The response's head leaves it in doubt where the body ends.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// `101` to a request that did not ask for that protocol.
    #[error("the origin switched protocols unasked")]
    UnaskedSwitch,
}

/// How a connection broke.
#[derive(Debug, thiserror::Error)]
pub enum BrokenConnection {
    /// As HTTP/1.1 or the viewer's body tells it.
    #[error(transparent)]
    Http1(Http1Error),
    /// As hyper tells it.
    #[error(transparent)]
    Http2(hyper::Error),
}

/// What makes a response unreadable.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its HTTP/1.1 head.
    #[error(transparent)]
    Head(BadHead),
    /// As hyper tells it.
    #[error(transparent)]
    Http2(hyper::Error),
}

impl ExchangeError {
    /// The error's kind for metrics and the retry rule.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ClosedBeforeSend => ErrorKind::ClosedBeforeSend,
            Self::Unprocessed { .. } => ErrorKind::Unprocessed,
            Self::Reset { reused: true, .. } => ErrorKind::ReusedReset,
            Self::Reset { reused: false, .. } => ErrorKind::FreshReset,
            Self::FirstByteTimeout(_) => ErrorKind::FirstByteTimeout,
            Self::BadResponse(_) | Self::Chatter | Self::Framing(_) | Self::UnaskedSwitch => {
                ErrorKind::BadResponse
            }
        }
    }
}

/// How long to wait for the head of a response.
#[derive(Clone, Copy, Debug)]
pub struct FirstByteWait<'a> {
    /// When the request was sent.
    pub began: Instant,
    /// From the last byte of the request that the origin took.
    pub limit: Duration,
    /// The request's body, if it has one: an upload that moves is no late answer.
    pub source: Option<&'a ReplaySource>,
    /// Then at the earliest, and not much later, another timer has the request looked at: one of its
    /// own is set only then. Most answers come before either.
    pub watched_until: Option<Instant>,
}

/// Sends a request on an HTTP/1.1 connection and waits for the response's head.
pub async fn exchange_http1(
    connection: Box<Http1Connection>,
    reused: bool,
    head: &RequestHead<'_>,
    body: RequestBody,
    wait: FirstByteWait<'_>,
) -> Result<Response<AnswerBody>, ExchangeError> {
    let answer = pin!(connection.exchange(head, body));
    match within_wait(wait, answer).await {
        None => Err(ExchangeError::FirstByteTimeout(wait.limit)),
        Some(Ok(response)) => Ok(response.map(AnswerBody::Http1)),
        Some(Err(error)) => Err(match error {
            Http1Error::ClosedBeforeSend => ExchangeError::ClosedBeforeSend,
            Http1Error::BadHead(bad) => ExchangeError::BadResponse(Unreadable::Head(bad)),
            Http1Error::Chatter => ExchangeError::Chatter,
            Http1Error::Framing(error) => error.into(),
            Http1Error::Closed | Http1Error::Broken(_) | Http1Error::Upload(_) => {
                ExchangeError::Reset {
                    reused,
                    source: BrokenConnection::Http1(error),
                }
            }
        }),
    }
}

/// Sends `request`, which has scheme and authority, as a stream of an HTTP/2 connection and waits
/// for the response's head; `stream` counts it.
pub async fn exchange_http2(
    mut sender: http2::SendRequest<RequestBody>,
    stream: StreamToken,
    reused: bool,
    request: Request<RequestBody>,
    wait: FirstByteWait<'_>,
) -> Result<Response<AnswerBody>, ExchangeError> {
    let answer = pin!(sender.try_send_request(request));
    match within_wait(wait, answer).await {
        None => Err(ExchangeError::FirstByteTimeout(wait.limit)),
        Some(Ok(mut response)) => {
            stream.served();
            settle_framing(response.headers_mut())?;
            Ok(response.map(|incoming| AnswerBody::Http2(incoming, stream)))
        }
        // hyper hands the message back only if it never began to write it.
        Some(Err(error)) if error.message().is_some() => Err(ExchangeError::ClosedBeforeSend),
        Some(Err(error)) => {
            let error = error.into_error();
            if let Some(reason) = unprocessed(&error) {
                stream.drain();
                let served = stream.has_served();
                return Err(ExchangeError::Unprocessed { reason, served });
            }
            Err(classify(error, reused))
        }
    }
}

/// Waits for `answer`; `None` once the limit has passed since the origin last took anything.
async fn within_wait<T>(
    wait: FirstByteWait<'_>,
    mut answer: Pin<&mut impl Future<Output = T>>,
) -> Option<T> {
    let mut until = wait.began + wait.limit;
    let watched = wait.watched_until;
    if watched.is_some_and(|look| wait.began < look && look < until) {
        let mut is_first = true;
        let at_once = poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Pending if std::mem::take(&mut is_first) => Poll::Pending,
            Poll::Pending => Poll::Ready(None),
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
        });
        if let Some(answer) = at_once.await {
            return Some(answer);
        }
    }
    loop {
        if let Ok(answer) = timeout_at(until, &mut answer).await {
            return Some(answer);
        }
        // While the viewer is the one who is waited for, its own limit ends the request.
        let now = Instant::now();
        let since = match wait.source.map(ReplaySource::progress) {
            Some(Progress::AwaitingViewer) => now,
            Some(Progress::TakenAt(when)) => when,
            None => return None,
        };
        until = since + wait.limit;
        if until <= now {
            return None;
        }
    }
}

fn classify(error: hyper::Error, reused: bool) -> ExchangeError {
    if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        return ExchangeError::BadResponse(Unreadable::Http2(error));
    }
    ExchangeError::Reset {
        reused,
        source: BrokenConnection::Http2(error),
    }
}

/// The peer's word that it did not process a stream: REFUSED_STREAM (RFC 9113 section 8.7), or a
/// GOAWAY below the stream's number (section 6.8), the only streams h2 fails with it.
fn unprocessed(error: &hyper::Error) -> Option<h2::Reason> {
    let h2 = error.source()?.downcast_ref::<h2::Error>()?;
    let refused = h2.is_reset() && h2.reason() == Some(h2::Reason::REFUSED_STREAM);
    let gone_away = h2.is_go_away() && h2.is_remote();
    if refused || gone_away {
        h2.reason()
    } else {
        None
    }
}
