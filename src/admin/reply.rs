//! Answers of the admin server: JSON, text, problems (RFC 9457) and a stream of events.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Either, Full};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::admin::view::EventView;
use crate::board::journal::Follower;

/// An answer's body: whole, or events until the caller leaves.
pub type Body = Either<Full<Bytes>, EventBody>;
/// An answer.
pub type Reply = Response<Body>;

/// Events that wait for one slow reader; further ones wait in the journal, then are skipped.
const WAITING_EVENTS: usize = 16;
/// A comment this often shows a quiet stream is alive, and finds readers that are gone.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Text of any type.
#[must_use]
pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(body.into())));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderName::from_static("x-content-type-options");
    headers.insert(nosniff, HeaderValue::from_static("nosniff"));
    reply
}

/// `value` as JSON, indented for people who use curl.
#[must_use]
pub fn json<T: Serialize>(value: &T) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(mut body) => {
            body.push(b'\n');
            text(StatusCode::OK, "application/json", body)
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error as `application/problem+json`.
#[must_use]
pub fn problem(status: StatusCode, detail: &str) -> Reply {
    problem_with(status, detail, None)
}

/// As [`problem`], with an `errors` member.
#[must_use]
pub fn problem_with(status: StatusCode, detail: &str, errors: Option<Value>) -> Reply {
    let mut body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
    });
    if let (Some(errors), Some(members)) = (errors, body.as_object_mut()) {
        members.insert("errors".to_owned(), errors);
    }
    text(status, "application/problem+json", format!("{body}\n"))
}

/// The method is not the one this path takes.
#[must_use]
pub fn wrong_method(allowed: &'static str) -> Reply {
    let detail = format!("this path takes {allowed}");
    let mut reply = problem(StatusCode::METHOD_NOT_ALLOWED, &detail);
    reply
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    reply
}

/// Server-sent events (WHATWG HTML, section 9.2), all that `changes` hears, until the caller leaves.
/// `permit` is held that long. Each event's id is its sequence.
#[must_use]
pub fn events(mut changes: Follower, permit: OwnedSemaphorePermit) -> Reply {
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    tokio::spawn(async move {
        let _permit = permit;
        // Said at once, so that a reader knows it is connected.
        let mut next = Bytes::from_static(b": connected\n\n");
        let mut heard = changes.heard();
        while sender.send(next).await.is_ok() {
            next = tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(KEEP_ALIVE) => Bytes::from_static(b": alive\n\n"),
                timed = changes.next() => match timed {
                    Some(timed) => event_text(&EventView::of(&timed), &mut heard),
                    None => return,
                },
            };
        }
    });
    let mut reply = Response::new(Either::Right(EventBody { receiver }));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// One event, and how many the caller missed right before it: it heard all up to `heard`. JSON
/// escapes line feeds, so one `data` line holds it whole.
fn event_text(event: &EventView, heard: &mut u64) -> Bytes {
    let missed = event.sequence - *heard - 1;
    *heard = event.sequence;
    let gap = match missed {
        0 => String::new(),
        _ => format!("event: missed\ndata: {missed}\n\n"),
    };
    let data = serde_json::to_string(event).unwrap_or_default();
    let (id, kind) = (event.sequence, &event.kind);
    Bytes::from(format!("{gap}id: {id}\nevent: {kind}\ndata: {data}\n\n"))
}

/// A body that goes on while events come.
#[derive(Debug)]
pub struct EventBody {
    receiver: mpsc::Receiver<Bytes>,
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver
            .poll_recv(context)
            .map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
