//! Bodies that origins answer with, whole and otherwise.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

/// A response's body in tests.
pub(crate) type TestBody = BoxBody<Bytes, std::io::Error>;

/// A body known whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> TestBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// A body of these frames; an `Err` breaks it off.
pub(crate) fn frames(frames: Vec<Result<Frame<Bytes>, std::io::Error>>) -> TestBody {
    let items = Items {
        left: frames.into_iter(),
        ends: true,
    };
    BodyExt::boxed(StreamBody::new(items))
}

/// An answer of which half the body comes, and then nothing, on a connection that stays open.
pub(crate) fn half_then_silence() -> Response<TestBody> {
    let half = vec![Ok(Frame::data(Bytes::from_static(b"half")))];
    let items = Items {
        left: half.into_iter(),
        ends: false,
    };
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(items)));
    let whole = http::HeaderValue::from_static("8");
    response.headers_mut().insert("content-length", whole);
    response
}

struct Items<T> {
    left: std::vec::IntoIter<T>,
    ends: bool,
}

impl<T> futures_core::Stream for Items<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        match this.left.next() {
            None if !this.ends => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}

impl<T> Unpin for Items<T> {}
