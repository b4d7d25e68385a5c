//! The body of a request on its way to an origin, kept while small so that it can be sent again.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::upstream::replay_memory::ReplayMemory;
use crate::upstream::stall::StallWatch;
use crate::upstream::trailers::strip_head_fields;

/// Bytes of one frame when a body is sent again.
const REPLAY_FRAME: usize = 16 << 10;

/// The body of a request to an origin.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// The viewer's, from its first byte.
    Replayed(ReplayBody),
}

/// Where the reading of a viewer's body stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The origin would take more; the viewer has sent no more.
    AwaitingViewer,
    /// The origin last took bytes then, or the body ended then.
    TakenAt(Instant),
}

/// A viewer's request body and what is kept of it. Each attempt reads it through a body of its
/// own, from the first byte. Only the newest one gets bytes: an origin that answered early, or was
/// given up, may still hold an older one, and two readers would each get a part.
#[derive(Clone, Debug)]
pub struct ReplaySource(Rc<Holder>);

/// What all handles of one source share. When the last is gone, older attempts are over too.
#[derive(Debug)]
struct Holder(Rc<RefCell<ReplayState>>);

impl Drop for Holder {
    fn drop(&mut self) {
        let mut source = self.0.borrow_mut();
        source.abandoned = true;
        let waiting = std::mem::take(&mut source.superseded);
        drop(source);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[derive(Debug)]
struct ReplayState {
    incoming: Incoming,
    /// The viewer speaks HTTP/2.
    http2: bool,
    /// All bytes so far, while they fit. Copied: a frame of one byte would keep a whole read
    /// buffer alive.
    kept: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Frames went by that were not kept.
    overflowed: bool,
    /// The viewer broke off.
    broken: bool,
    /// It did so by sending what is no HTTP.
    malformed: bool,
    total_bytes: u64,
    size: SizeHint,
    memory: ReplayMemory,
    awaiting_viewer: bool,
    taken_at: Instant,
    stall: StallWatch,
    /// The number of the attempt that reads.
    reader: u32,
    /// Older attempts, which wait to be let go; at most one each.
    superseded: Vec<Waker>,
    /// Nobody wants an older attempt's answer any more.
    abandoned: bool,
}

impl ReplaySource {
    /// Nothing is read until the first attempt asks for it.
    #[must_use]
    pub fn new(
        incoming: Incoming,
        version: Version,
        memory: ReplayMemory,
        stall: StallWatch,
    ) -> Self {
        let size = incoming.size_hint();
        let source = Rc::new(RefCell::new(ReplayState {
            incoming,
            http2: version == Version::HTTP_2,
            kept: Vec::new(),
            trailers: None,
            ended: false,
            overflowed: false,
            broken: false,
            malformed: false,
            total_bytes: 0,
            size,
            memory,
            awaiting_viewer: false,
            taken_at: Instant::now(),
            stall,
            reader: 0,
            superseded: Vec::new(),
            abandoned: false,
        }));
        Self(Rc::new(Holder(source)))
    }

    /// Another attempt begins: bodies made before get no more bytes, so that what is kept stays
    /// whole while the attempt finds a connection.
    pub fn restart(&self) {
        let mut source = self.0.0.borrow_mut();
        source.reader += 1;
        if source.awaiting_viewer {
            // This attempt's origin has asked for nothing yet.
            source.awaiting_viewer = false;
            source.taken_at = Instant::now();
            source.stall.progressed();
        }
    }

    /// The body for the attempt that began last.
    #[must_use]
    pub fn body(&self) -> RequestBody {
        RequestBody::Replayed(ReplayBody {
            source: Rc::clone(&self.0.0),
            reader: self.0.0.borrow().reader,
            next: 0,
            done: false,
        })
    }

    /// Whether every byte so far is kept, so that another attempt can begin from the first.
    #[must_use]
    pub fn replayable(&self) -> bool {
        !self.0.0.borrow().overflowed
    }

    /// Whether the viewer's side broke off.
    #[must_use]
    pub fn broken(&self) -> bool {
        self.0.0.borrow().broken
    }

    /// Whether the viewer's side broke off because its framing is no HTTP.
    #[must_use]
    pub fn malformed(&self) -> bool {
        self.0.0.borrow().malformed
    }

    /// Who is waited for, to tell a late origin from a slow viewer.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let source = self.0.0.borrow();
        if source.awaiting_viewer {
            Progress::AwaitingViewer
        } else {
            Progress::TakenAt(source.taken_at)
        }
    }

    /// Bytes read from the viewer so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.0.borrow().total_bytes
    }
}

impl ReplayState {
    fn keep(&mut self, data: &Bytes) {
        if self.overflowed {
            return;
        }
        let room = self.kept.capacity();
        let needed = self.kept.len() + data.len();
        if needed > room {
            // Twice as much, so that many small frames are not moved each time.
            let doubled = (2 * room).min(self.memory.per_request()).max(needed);
            if !self.memory.take(room, doubled - room) {
                self.forget();
                self.overflowed = true;
                return;
            }
            self.kept.reserve_exact(doubled - self.kept.len());
        }
        self.kept.extend_from_slice(data);
    }

    fn wait(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.awaiting_viewer = true;
        if self.stall.pending(cx) {
            self.broken = true;
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        Poll::Pending
    }

    /// An older attempt waits while its answer may still be wanted, then breaks off.
    fn let_go(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.abandoned {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if !self
            .superseded
            .iter()
            .any(|waker| waker.will_wake(cx.waker()))
        {
            self.superseded.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes what the viewer sent, and keeps of it what another attempt may need.
    fn take(
        &mut self,
        frame: Option<Result<Frame<Bytes>, hyper::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        match frame {
            // A stream reset with NO_ERROR looks to hyper like one that ended.
            None if self.http2 && !self.incoming.is_end_stream() => {
                self.broken = true;
                Some(Err(BodyError::Unfinished))
            }
            None => {
                self.ended = true;
                None
            }
            Some(Err(error)) => {
                self.broken = true;
                self.malformed = is_malformed(&error);
                Some(Err(BodyError::Broken(error)))
            }
            Some(Ok(mut frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.total_bytes += data.len() as u64;
                    self.keep(data);
                } else if let Some(trailers) = frame.trailers_mut() {
                    strip_head_fields(trailers);
                    self.trailers = Some(trailers.clone());
                    self.ended = true;
                }
                Some(Ok(frame))
            }
        }
    }

    fn forget(&mut self) {
        self.memory.give_back(self.kept.capacity());
        self.kept = Vec::new();
    }
}

impl Drop for ReplayState {
    fn drop(&mut self) {
        self.forget();
    }
}

/// One attempt's reading of a [`ReplaySource`].
#[derive(Debug)]
pub struct ReplayBody {
    source: Rc<RefCell<ReplayState>>,
    reader: u32,
    /// Bytes of the body that this attempt has.
    next: u64,
    done: bool,
}

impl ReplayBody {
    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut source = self.source.borrow_mut();
        if source.reader != self.reader {
            return source.let_go(cx);
        }
        if !source.overflowed
            && let Some(rest) = usize::try_from(self.next)
                .ok()
                .and_then(|next| source.kept.get(next..))
            && !rest.is_empty()
        {
            let data = Bytes::copy_from_slice(&rest[..rest.len().min(REPLAY_FRAME)]);
            self.next += data.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.next < source.total_bytes {
            // What comes next is no longer kept: a body with a gap must not look whole.
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if source.ended {
            self.done = true;
            return Poll::Ready(
                source
                    .trailers
                    .clone()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        }
        let Poll::Ready(frame) = Pin::new(&mut source.incoming).poll_frame(cx) else {
            return source.wait(cx);
        };
        source.awaiting_viewer = false;
        source.taken_at = Instant::now();
        source.stall.progressed();
        let taken = source.take(frame);
        self.done = source.ended;
        if let Some(Ok(frame)) = &taken
            && let Some(data) = frame.data_ref()
        {
            self.next += data.len() as u64;
        }
        Poll::Ready(taken)
    }
}

/// Whether a body's bytes break the rules of framing, rather than stop coming.
fn is_malformed(error: &hyper::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|error| matches!(error.kind(), InvalidData | InvalidInput))
}

/// Why a body stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The connection it came over broke.
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    /// The connection to the origin broke, or ended before the body did.
    #[error("the body broke off: {0}")]
    Cut(#[from] std::io::Error),
    /// Its HTTP/2 stream was reset before its end.
    #[error("the body's stream was reset before its end")]
    Unfinished,
    /// Nothing came for longer than `timeouts.body_progress`.
    #[error("the body stood still")]
    Stalled,
    /// Another attempt reads it now.
    #[error("another attempt has taken the body over")]
    Superseded,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Replayed(body) if body.done => Poll::Ready(None),
            Self::Replayed(body) => body.poll_source(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Replayed(body) => body.done,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            // Asked before the first frame only, to frame the message.
            Self::Replayed(body) => body.source.borrow().size,
        }
    }
}
