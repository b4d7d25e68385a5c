//! The body of a response on its way to the viewer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::range_resume::stream::ResumableBody;
use crate::proxy::recorder::Recorder;
use crate::proxy::response_buffer::{BufferReservation, BufferedBody};
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::{BodyError, ReplaySource, RequestBody};
use crate::upstream::http1::body::Released;
use crate::upstream::pool::{Outstanding, Pools};
use crate::upstream::stall::StallWatch;
use meridian_core::model::id::EndpointId;

/// What hyper sends to a viewer. The request's record is written when it is dropped, however
/// that comes about.
#[derive(Debug)]
pub struct ViewerBody {
    source: BodySource,
    /// Absent where a tunnel has it.
    recorder: Option<Recorder>,
}

#[derive(Debug)]
enum BodySource {
    /// An answer of our own, and what of the request is still to be read.
    Own(Option<Bytes>, Option<UnreadBody>),
    /// An origin's, buffered until it was whole.
    Buffered {
        bytes: Option<Bytes>,
        trailers: Option<Box<HeaderMap>>,
        _reservation: Option<BufferReservation>,
    },
    /// An origin's.
    Origin(Box<OriginBody>),
    /// An origin's, which another one can go on with.
    Resumable(Box<ResumableBody>),
}

/// Bytes of a request that are read after it was refused; one that sends more is cut off.
const MOST_UNREAD: usize = 64 << 10;

/// What of a refused request's body is still on its way. HTTP/2 viewers (curl among them) take the
/// end of a stream that we have not read to the end for a failure of the stream, and do not show
/// the answer; so it is read, within bounds, before the answer ends.
#[derive(Debug)]
pub struct UnreadBody {
    body: RequestBody,
    left: usize,
}

impl UnreadBody {
    /// What is left of `source`; attempts that read it are over.
    #[must_use]
    pub fn of(source: &ReplaySource) -> Self {
        source.restart();
        Self {
            body: source.body(),
            left: MOST_UNREAD,
        }
    }

    /// Reads on; ready at the body's end, or when it is too long, broken or stands still.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(Ok(frame)) = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            match self.left.checked_sub(bytes) {
                Some(left) => self.left = left,
                None => break,
            }
        }
        Poll::Ready(())
    }
}

/// A body that streams from an origin, and where its connection goes.
#[derive(Debug)]
pub struct OriginBody {
    answer: AnswerBody,
    /// Absent once the connection has gone back.
    give_back: Option<ConnectionReturn>,
    stall: StallWatch,
    _outstanding: Outstanding,
}

/// Where an HTTP/1.1 connection goes after the body's end; an HTTP/2 stream just ends.
#[derive(Debug)]
pub struct ConnectionReturn {
    /// The pool it came from.
    pub pools: Pools,
    /// The endpoint it leads to.
    pub endpoint: EndpointId,
    /// Whether the origin will read another request on it.
    pub reusable: bool,
}

impl OriginBody {
    /// A body from `answer`; its connection goes back to the pool at its end.
    #[must_use]
    pub fn new(
        answer: AnswerBody,
        give_back: ConnectionReturn,
        stall: StallWatch,
        outstanding: Outstanding,
    ) -> Self {
        let mut body = Self {
            answer,
            give_back: Some(give_back),
            stall,
            _outstanding: outstanding,
        };
        body.release_at_end();
        body
    }

    /// Whether the origin has sent all of it.
    pub(super) fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn release_at_end(&mut self) {
        if self.answer.is_end_stream() {
            self.release();
        }
    }

    /// A connection that is still busy with the request may take as long to end as a body may stand
    /// still.
    fn release(&mut self) {
        let (Some(give_back), AnswerBody::Http1(body)) = (self.give_back.take(), &mut self.answer)
        else {
            return;
        };
        match body.release() {
            Released::Ready(connection) if give_back.reusable => {
                give_back.pools.give_back(give_back.endpoint, connection);
            }
            Released::Busy(leaving) => {
                give_back.pools.part(leaving, self.stall.limit());
            }
            Released::Ready(_) | Released::Closed => {}
        }
    }

    /// Its next frame. After an error its connection is not used again.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.answer).poll_frame(cx) else {
            if self.stall.pending(cx) {
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            }
            return Poll::Pending;
        };
        self.stall.progressed();
        match &frame {
            None => self.release(),
            Some(Ok(_)) => self.release_at_end(),
            Some(Err(_)) => self.give_back = None,
        }
        Poll::Ready(frame)
    }
}

impl ViewerBody {
    /// An answer of our own.
    #[must_use]
    pub fn own(bytes: Bytes, unread: Option<UnreadBody>, recorder: Recorder) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self::begin(BodySource::Own(bytes, unread), Some(recorder))
    }

    /// An origin's answer.
    #[must_use]
    pub fn origin(body: OriginBody, recorder: Recorder) -> Self {
        Self::begin(BodySource::Origin(Box::new(body)), Some(recorder))
    }

    /// An origin's answer that another one can go on with.
    pub(super) fn resumable(body: ResumableBody, recorder: Recorder) -> Self {
        Self::begin(BodySource::Resumable(Box::new(body)), Some(recorder))
    }

    /// An origin's answer that is here, whole.
    #[must_use]
    pub fn buffered(buffered: BufferedBody, recorder: Recorder) -> Self {
        let source = BodySource::Buffered {
            bytes: Some(buffered.bytes).filter(|bytes| !bytes.is_empty()),
            trailers: buffered.trailers,
            _reservation: buffered.reservation,
        };
        Self::begin(source, Some(recorder))
    }

    /// The end of HTTP on this connection: a tunnel goes on with it.
    #[must_use]
    pub fn none() -> Self {
        Self::begin(BodySource::Own(None, None), None)
    }

    fn begin(source: BodySource, recorder: Option<Recorder>) -> Self {
        let mut body = Self { source, recorder };
        body.complete_at_end();
        body
    }

    /// hyper does not ask a body for more once its end is known.
    fn complete_at_end(&mut self) {
        if self.is_end_stream()
            && let Some(recorder) = &mut self.recorder
        {
            recorder.completed();
        }
    }
}

impl Body for ViewerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            BodySource::Own(bytes, unread) => match (bytes.take(), &mut *unread) {
                (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                (None, Some(rest)) => {
                    let ended = rest.poll_end(cx);
                    if ended.is_ready() {
                        *unread = None;
                    }
                    ended.map(|()| None)
                }
                (None, None) => Poll::Ready(None),
            },
            BodySource::Buffered {
                bytes, trailers, ..
            } => {
                let data = bytes.take().map(Frame::data);
                Poll::Ready(
                    data.or_else(|| trailers.take().map(|trailers| Frame::trailers(*trailers)))
                        .map(Ok),
                )
            }
            BodySource::Origin(body) => body.poll_frame(cx),
            BodySource::Resumable(body) => match &mut this.recorder {
                Some(recorder) => body.poll_frame(cx, recorder),
                None => Poll::Ready(None),
            },
        };
        if let (Some(recorder), Poll::Ready(frame)) = (&mut this.recorder, &frame) {
            match frame {
                Some(Ok(frame)) => recorder.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(error)) => recorder.broke(error),
                None => recorder.completed(),
            }
        }
        this.complete_at_end();
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            BodySource::Own(bytes, unread) => bytes.is_none() && unread.is_none(),
            BodySource::Buffered {
                bytes, trailers, ..
            } => bytes.is_none() && trailers.is_none(),
            BodySource::Origin(body) => body.is_end_stream(),
            BodySource::Resumable(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Own(bytes, _) | BodySource::Buffered { bytes, .. } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            BodySource::Origin(body) => body.answer.size_hint(),
            BodySource::Resumable(body) => body.size_hint(),
        }
    }
}
