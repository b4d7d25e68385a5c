//! The body of a response on its way to the viewer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::origin_body::OriginBody;
use crate::proxy::range_resume::stream::ResumableBody;
use crate::proxy::recorder::Recorder;
use crate::proxy::response_buffer::{BufferReservation, BufferedBody};
use crate::proxy::unread_body::UnreadBody;
use crate::upstream::body::BodyError;

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
        _reservation: BufferReservation,
    },
    /// An origin's.
    Origin(Box<OriginBody>),
    /// An origin's, which another one can go on with.
    Resumable(Box<ResumableBody>),
}

impl ViewerBody {
    /// An answer of our own.
    pub(super) fn own(bytes: Bytes, unread: Option<UnreadBody>, recorder: Recorder) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self::begin(BodySource::Own(bytes, unread), Some(recorder))
    }

    /// An origin's answer.
    pub(super) fn origin(body: OriginBody, recorder: Recorder) -> Self {
        Self::begin(BodySource::Origin(Box::new(body)), Some(recorder))
    }

    /// An origin's answer that another one can go on with.
    pub(super) fn resumable(body: ResumableBody, recorder: Recorder) -> Self {
        Self::begin(BodySource::Resumable(Box::new(body)), Some(recorder))
    }

    /// An origin's answer that is here, whole.
    pub(super) fn buffered(buffered: BufferedBody, recorder: Recorder) -> Self {
        let source = BodySource::Buffered {
            bytes: Some(buffered.bytes).filter(|bytes| !bytes.is_empty()),
            trailers: buffered.trailers,
            _reservation: buffered.reservation,
        };
        Self::begin(source, Some(recorder))
    }

    /// The end of HTTP on this connection: a tunnel goes on with it.
    pub(super) fn none() -> Self {
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
            BodySource::Origin(body) => body.size_hint(),
            BodySource::Resumable(body) => body.size_hint(),
        }
    }
}
