//! The body of an origin's response as it streams, and where its connection goes at its end.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::proxy::outlier_report::BodyReport;
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::BodyError;
use crate::upstream::http1::body::Released;
use crate::upstream::pool::{Outstanding, Pools};
use crate::upstream::stall::StallWatch;
use meridian_core::model::id::EndpointId;

/// A body that streams from an origin, and where its connection goes.
#[derive(Debug)]
pub(super) struct OriginBody {
    answer: AnswerBody,
    /// Absent once the connection has gone back.
    give_back: Option<ConnectionReturn>,
    stall: StallWatch,
    /// Absent once it is told how it ended, and where somebody else tells.
    report: Option<BodyReport>,
    _outstanding: Outstanding,
}

/// Where an HTTP/1.1 connection goes after the body's end; an HTTP/2 stream just ends.
#[derive(Debug)]
pub(super) struct ConnectionReturn {
    /// The pool it came from.
    pub(super) pools: Pools,
    /// The endpoint it leads to.
    pub(super) endpoint: EndpointId,
    /// Whether the origin will read another request on it.
    pub(super) reusable: bool,
}

impl OriginBody {
    /// A body from `answer`; its connection goes back to the pool at its end, and `report` hears how
    /// it ends, if that is not known yet.
    pub(super) fn new(
        answer: AnswerBody,
        give_back: ConnectionReturn,
        stall: StallWatch,
        report: Option<BodyReport>,
        outstanding: Outstanding,
    ) -> Self {
        let mut body = Self {
            answer,
            give_back: Some(give_back),
            stall,
            report,
            _outstanding: outstanding,
        };
        if body.answer.is_end_stream() {
            body.release();
        }
        body
    }

    /// Whether the origin has sent all of it.
    pub(super) fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }

    fn ended(&mut self) {
        self.release();
        if let Some(report) = self.report.take() {
            report.ended();
        }
    }

    fn broke(&mut self) {
        self.give_back = None;
        if let Some(report) = self.report.take() {
            report.broke();
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
                give_back.pools.linger(leaving, self.stall.limit());
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
                self.broke();
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            }
            return Poll::Pending;
        };
        self.stall.progressed();
        match &frame {
            None => self.ended(),
            Some(Ok(_)) if self.answer.is_end_stream() => self.ended(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.broke(),
        }
        Poll::Ready(frame)
    }
}
