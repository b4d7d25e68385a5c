//! What of a refused request's body is still on its way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body;

use crate::upstream::body::{ReplaySource, RequestBody};

/// Bytes of a request that are read after it was refused; one that sends more is cut off.
const MOST_UNREAD: usize = 64 << 10;

/// What of a refused request's body is still on its way. HTTP/2 viewers (curl among them) take the
/// end of a stream that we have not read to the end for a failure of the stream, and do not show
/// the answer; so it is read, within bounds, before the answer ends.
#[derive(Debug)]
pub(super) struct UnreadBody {
    body: RequestBody,
    left: usize,
}

impl UnreadBody {
    /// What is left of `source`; attempts that read it are over.
    pub(super) fn of(source: &ReplaySource) -> Self {
        source.restart();
        Self {
            body: source.body(),
            left: MOST_UNREAD,
        }
    }

    /// Reads on; ready at the body's end, or when it is too long, broken or stands still.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
