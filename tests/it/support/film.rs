//! Origins that serve one large file and its ranges, and break off as they are told.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tokio::sync::Notify;

use crate::support::origin::{Behaviour, Seen, TestBody};

/// Bytes of the file.
pub(crate) const LENGTH: usize = 8 << 20;
/// The middle of it.
pub(crate) const HALF: usize = LENGTH / 2;
/// Its tag.
pub(crate) const ETAG: &str = "\"v1\"";

/// How an origin's body ends, of what it was asked for.
#[derive(Clone)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// The connection breaks after so many bytes.
    Cut(usize),
    /// After so many bytes nothing comes until it is told to go on.
    Stall(usize, Arc<Notify>),
}

/// Stands still for good.
pub(crate) fn stall(after: usize) -> End {
    End::Stall(after, Arc::default())
}

/// A body that ends like that.
struct Reel {
    frames: VecDeque<Bytes>,
    ending: Option<Ending>,
    rest: VecDeque<Bytes>,
}

enum Ending {
    Break,
    Wait(Pin<Box<dyn Future<Output = ()> + Send + Sync>>),
}

fn frames(bytes: &Bytes) -> VecDeque<Bytes> {
    bytes
        .chunks(64 << 10)
        .map(|one| bytes.slice_ref(one))
        .collect()
}

impl Reel {
    fn new(mut bytes: Bytes, end: &End) -> Self {
        let (after, ending) = match end.clone() {
            End::Whole => (bytes.len(), None),
            End::Cut(after) => (after, Some(Ending::Break)),
            End::Stall(after, go) => {
                let told = Box::pin(async move { go.notified().await });
                (after, Some(Ending::Wait(told)))
            }
        };
        let first = bytes.split_to(after.min(bytes.len()));
        Self {
            frames: frames(&first),
            ending,
            rest: frames(&bytes),
        }
    }
}

impl Body for Reel {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match &mut self.ending {
            Some(Ending::Break) => return Poll::Ready(Some(Err(io::Error::other("cut")))),
            Some(Ending::Wait(told)) => ready!(told.as_mut().poll(cx)),
            None => {}
        }
        self.ending = None;
        let next = self.rest.pop_front();
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// The file.
pub(crate) fn film() -> Bytes {
    let mut random = fastrand::Rng::with_seed(7);
    (0..LENGTH).map(|_| random.u8(..)).collect()
}

/// Serves `film` and its ranges, as a file server does.
fn screen(seen: &Seen, film: &Bytes, end: &End) -> Response<TestBody> {
    let asked = seen.headers.get(header::RANGE).map(|range| {
        let range = range.to_str().unwrap().strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let first: usize = first.parse().unwrap();
        (first, last.parse::<usize>().unwrap_or(film.len() - 1))
    });
    let (first, last) = asked.unwrap_or((0, film.len() - 1));
    let mut response = Response::builder()
        .header("etag", ETAG)
        .header("accept-ranges", "bytes")
        .header("content-length", last + 1 - first);
    if asked.is_some() {
        let range = format!("bytes {first}-{last}/{}", film.len());
        response = response.status(206).header("content-range", range);
    }
    let reel = Reel::new(film.slice(first..=last), end);
    response.body(reel.boxed()).unwrap()
}

/// Serves `film`; every answer ends like that.
pub(crate) fn plays(film: &Bytes, end: End) -> Behaviour {
    plays_but(film, end, |_| {})
}

/// The same, with something wrong about its answers.
pub(crate) fn plays_but(
    film: &Bytes,
    end: End,
    change: impl Fn(&mut Response<TestBody>) + Send + Sync + 'static,
) -> Behaviour {
    let film = film.clone();
    Behaviour::With(Arc::new(move |seen| {
        let mut response = screen(&seen, &film, &end);
        change(&mut response);
        response
    }))
}

/// Answers with this field instead of their own.
pub(crate) fn set(
    name: &'static str,
    value: &'static str,
) -> impl Fn(&mut Response<TestBody>) + Send + Sync {
    move |response| {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
}
