//! The body of an answer, whichever protocol brings it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::upstream::body::BodyError;
use crate::upstream::http1::body::Http1Body;
use crate::upstream::stream_token::StreamToken;
use crate::upstream::trailers::strip_hop_fields;

/// A body as it comes from an origin.
#[derive(Debug)]
pub enum AnswerBody {
    /// Over a connection of its own.
    Http1(Http1Body),
    /// As one of a connection's streams, which the token counts.
    Http2(
        Incoming,
        #[expect(dead_code, reason = "only its life matters")] StreamToken,
    ),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut polled = match self.get_mut() {
            Self::Http1(body) => body.poll_frame(cx),
            Self::Http2(incoming, _) => match Pin::new(&mut *incoming).poll_frame(cx) {
                // hyper takes a stream that was reset with NO_ERROR for one that ended: only the
                // end that the origin sent itself (RFC 9113 section 8.1) makes the body whole.
                Poll::Ready(None) if !incoming.is_end_stream() => {
                    Poll::Ready(Some(Err(BodyError::Unfinished)))
                }
                polled => polled.map_err(BodyError::Broken),
            },
        };
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            strip_hop_fields(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(incoming, _) => incoming.size_hint(),
        }
    }
}
