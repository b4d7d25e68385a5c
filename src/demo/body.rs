//! The body of a simulated region's answer, which a fault may end or hold up in its middle.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::demo::download;
use crate::demo::fault::Fault;
use crate::demo::switch::FaultSight;

/// How much is handed out at once: little enough that other answers of the region, whose thread is
/// one, need not wait for long.
const PIECE: u64 = 16 * 1024;

/// Why an answer is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated region breaks off")]
pub(crate) struct BrokenOff;

/// What a body consists of.
#[derive(Debug)]
pub(crate) enum Content {
    /// These bytes.
    Text(Bytes),
    /// These bytes, which no fault holds up: the answer of a health check.
    Health(Bytes),
    /// A part of the download.
    Download {
        /// The offset of its first byte.
        from: u64,
        /// The offset after its last byte.
        to: u64,
    },
}

/// A body.
pub(crate) struct RegionBody {
    content: Content,
    sent: u64,
    length: u64,
    sight: FaultSight,
    /// While a fault holds it up.
    waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// A piece was handed out, and nobody else has had a turn since.
    is_turn_due: bool,
}

impl RegionBody {
    pub(crate) fn new(content: Content, sight: FaultSight) -> Self {
        let length = match &content {
            Content::Text(text) | Content::Health(text) => text.len() as u64,
            Content::Download { from, to } => to - from,
        };
        Self {
            content,
            sent: 0,
            length,
            sight,
            waiting: None,
            is_turn_due: false,
        }
    }

    /// Whether a fault keeps this body from passing its middle.
    fn is_held_up(&self, fault: Fault) -> bool {
        match (&self.content, fault) {
            (Content::Health(_), _) => false,
            (_, Fault::Half | Fault::Hang | Fault::Blackhole) => true,
            (Content::Download { .. }, fault) => fault == Fault::Stall,
            (Content::Text(_), _) => false,
        }
    }

    fn is_cut(&self, fault: Fault) -> bool {
        matches!(self.content, Content::Download { .. }) && fault == Fault::Cut
    }

    /// The next bytes, up to the offset `end` of this body.
    fn piece(&mut self, end: u64) -> Bytes {
        let from = self.sent;
        let to = end.min(from + PIECE);
        self.sent = to;
        match &self.content {
            Content::Text(text) | Content::Health(text) => {
                let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
                text.slice(index(from)..index(to))
            }
            Content::Download { from: start, .. } => download::bytes(start + from, start + to),
        }
    }

    fn wait(
        &self,
        until: impl Fn(Fault) -> bool + Send + Sync + 'static,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut sight = self.sight.clone();
        Box::pin(async move { sight.until(until).await })
    }
}

impl Body for RegionBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(waiting) = &mut self.waiting {
                ready!(waiting.as_mut().poll(context));
                self.waiting = None;
            }
            if self.sent >= self.length {
                return Poll::Ready(None);
            }
            if std::mem::replace(&mut self.is_turn_due, false) {
                // The server sends what it has when a body has nothing for it.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let fault = self.sight.now();
            let (is_held_up, is_cut) = (self.is_held_up(fault), self.is_cut(fault));
            let end = match is_held_up || is_cut {
                true => self.length / 2,
                false => self.length,
            };
            if self.sent < end {
                let piece = self.piece(end);
                self.is_turn_due = true;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if is_cut {
                return Poll::Ready(Some(Err(BrokenOff)));
            }
            // It goes on where it stood once the fault is over.
            self.waiting = Some(self.wait(move |now| now != fault));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.sent >= self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length - self.sent)
    }
}
