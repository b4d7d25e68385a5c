//! Small bodies are buffered until they are whole: one that breaks off or stalls before can
//! still be had from another region, and the viewer never learns of it. Where the request must not
//! be repeated, the viewer gets a clear error instead of half an answer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::time::{Instant, timeout_at};

use crate::proxy::attempt_error::AttemptError;
use crate::upstream::answer::AnswerBody;

/// Bytes of a body that is buffered; larger ones stream.
const LARGEST_BUFFERED: u64 = 64 << 10;

/// A small body, whole.
#[derive(Debug)]
pub(super) struct BufferedBody {
    /// All its bytes.
    pub(super) bytes: Bytes,
    /// Its trailers, if it had any.
    pub(super) trailers: Option<Box<HeaderMap>>,
    /// Given back when the viewer has it.
    pub(super) reservation: BufferReservation,
    /// When the last of it was here, where that came later than its head.
    pub(super) ready: Option<Instant>,
}

/// Bytes that one worker may use for bodies that are buffered.
#[derive(Debug)]
pub(super) struct BufferBudget {
    used: Rc<Cell<usize>>,
    most: Cell<usize>,
    denied: Cell<u64>,
}

/// Bytes of the budget taken for one body.
#[derive(Debug)]
pub(super) struct BufferReservation {
    used: Rc<Cell<usize>>,
    bytes: usize,
}

impl BufferBudget {
    /// Room for `most` bytes, all bodies together.
    pub(super) fn new(most: usize) -> Self {
        Self {
            used: Rc::default(),
            most: Cell::new(most),
            denied: Cell::default(),
        }
    }

    /// From now on has room for `most` bytes.
    pub(super) fn follow_limit(&self, most: usize) {
        self.most.set(most);
    }

    /// Room for the body of `response`, if it is small, of known length, and there is room.
    pub(super) fn reserve_for(&self, response: &Response<AnswerBody>) -> Option<BufferReservation> {
        // Without the field the length of an HTTP/2 body is not known, and none of it is buffered:
        // it may be a stream of events.
        let length = response
            .headers()
            .get(header::CONTENT_LENGTH)?
            .to_str()
            .ok()?;
        let length: u64 = length
            .parse()
            .ok()
            .filter(|length| *length <= LARGEST_BUFFERED)?;
        if response.body().is_end_stream() {
            return None;
        }
        let bytes = usize::try_from(length).ok()?;
        let used = self.used.get() + bytes;
        if used > self.most.get() {
            self.denied.set(self.denied.get() + 1);
            return None;
        }
        self.used.set(used);
        Some(BufferReservation {
            used: Rc::clone(&self.used),
            bytes,
        })
    }

    /// Bodies that there was no room for since the last time this was asked.
    pub(super) fn take_denied(&self) -> u64 {
        self.denied.take()
    }
}

impl Drop for BufferReservation {
    fn drop(&mut self) {
        self.used.set(self.used.get().saturating_sub(self.bytes));
    }
}

/// Reads `body` to its end within `reservation`; it may stand still for `limit`, and must be there by
/// `until`.
///
/// # Errors
/// [`AttemptError::BodyBroken`] when it breaks off or stands still for longer.
pub(super) async fn buffer(
    body: &mut AnswerBody,
    reservation: BufferReservation,
    limit: Duration,
    until: Instant,
) -> Result<BufferedBody, AttemptError> {
    let length = reservation.bytes;
    let stalled = |_| AttemptError::BodyBroken(format!("it stood still for {limit:?}"));
    let mut bytes = Bytes::new();
    let mut joined = BytesMut::new();
    let mut trailers = None;
    let mut has_waited = false;
    loop {
        // What is here already, as a rule all of it, needs no timer.
        let at_once = poll_fn(|cx| Poll::Ready(Pin::new(&mut *body).poll_frame(cx)));
        let frame = match at_once.await {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                has_waited = true;
                let next = timeout_at(until.min(Instant::now() + limit), body.frame());
                next.await.map_err(stalled)?
            }
        };
        let Some(frame) = frame else {
            break;
        };
        let frame = frame.map_err(|error| AttemptError::BodyBroken(error.to_string()))?;
        match frame.into_data() {
            // One frame, as a rule: nothing is copied.
            Ok(data) if bytes.is_empty() => bytes = data,
            Ok(data) => {
                if joined.is_empty() {
                    joined.reserve(length);
                    joined.extend_from_slice(&bytes);
                }
                joined.extend_from_slice(&data);
                if joined.len() > length {
                    return Err(AttemptError::BodyBroken("it is too long".to_owned()));
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok().map(Box::new),
        }
    }
    if !joined.is_empty() {
        bytes = joined.freeze();
    }
    if bytes.len() != length {
        return Err(AttemptError::BodyBroken("it ended early".to_owned()));
    }
    Ok(BufferedBody {
        bytes,
        trailers,
        reservation,
        ready: has_waited.then(Instant::now),
    })
}
