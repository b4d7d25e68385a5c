//! The body of an answer, and the connection it comes over.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::stream::prefixed::Prefixed;
use crate::upstream::body::BodyError;
use crate::upstream::connect::UpstreamStream;
use crate::upstream::http1::chunked::{Chunk, Chunks};
use crate::upstream::http1::connection::Http1Connection;
use crate::upstream::http1::upload::{Upload, UploadError};

/// Bytes read at once of a body: of a download each read costs a system call, a frame and a write.
const BODY_READ: usize = 64 << 10;

/// How a body is told from what follows it.
#[derive(Debug)]
pub(super) enum Coding {
    /// So many bytes are still due.
    Length(u64),
    /// In chunks; boxed, most bodies are not.
    Chunked(Box<Chunks>),
    /// By the end of the connection.
    Close,
    /// It had no length and has ended.
    Closed,
    /// There is none: the connection has left HTTP.
    Switched,
}

/// The body of an answer. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct Http1Body {
    /// Absent once the body broke.
    exchange: Option<Exchange>,
    coding: Coding,
}

/// A connection, and what of the request is still on its way.
#[derive(Debug)]
struct Exchange {
    connection: Box<Http1Connection>,
    upload: Upload,
}

/// A connection whose answer is done.
#[derive(Debug)]
pub enum Released {
    /// It can take another request.
    Ready(Box<Http1Connection>),
    /// The answer came before the whole request was written.
    Busy(LingeringUpload),
    /// It is of no more use.
    Closed,
}

/// The rest of a request whose answer is here: an origin may want to read it before it closes.
#[derive(Debug)]
pub struct LingeringUpload(Exchange);

impl LingeringUpload {
    /// Writes the rest of the request, as far as the origin takes it, and closes the connection.
    pub async fn finish(mut self) {
        let Exchange { connection, upload } = &mut self.0;
        // How it ends is of no interest to anybody.
        let _ = std::future::poll_fn(|cx| upload.poll(cx, connection)).await;
    }
}

impl Http1Body {
    pub(super) fn new(connection: Box<Http1Connection>, upload: Upload, coding: Coding) -> Self {
        Self {
            exchange: Some(Exchange { connection, upload }),
            coding,
        }
    }

    /// Whether the origin has sent all of it.
    #[must_use]
    pub fn is_end_stream(&self) -> bool {
        match &self.coding {
            Coding::Length(left) => *left == 0,
            Coding::Chunked(chunks) => chunks.has_ended(),
            Coding::Close => false,
            Coding::Closed | Coding::Switched => true,
        }
    }

    /// How much of it is still due, as far as that is known.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match &self.coding {
            Coding::Length(left) => SizeHint::with_exact(*left),
            Coding::Closed | Coding::Switched => SizeHint::with_exact(0),
            Coding::Chunked(chunks) if chunks.has_ended() => SizeHint::with_exact(0),
            Coding::Chunked(_) | Coding::Close => SizeHint::default(),
        }
    }

    /// The connection, once the body has ended: to be asked once.
    pub fn release(&mut self) -> Released {
        let reusable = matches!(self.coding, Coding::Length(0) | Coding::Chunked(_));
        match self.exchange.take() {
            Some(exchange) if !exchange.upload.has_ended() => {
                Released::Busy(LingeringUpload(exchange))
            }
            // What comes before the next request is no answer to it.
            Some(exchange) if reusable && exchange.connection.input.is_empty() => {
                let mut connection = exchange.connection;
                connection.park();
                Released::Ready(connection)
            }
            _ => Released::Closed,
        }
    }

    /// The connection after `101 Switching Protocols`: those bytes first that came with its head.
    pub fn switched(&mut self) -> Option<Prefixed<UpstreamStream>> {
        let connection = self.exchange.take()?.connection;
        matches!(self.coding, Coding::Switched).then(|| {
            Prefixed::new(Bytes::new(), connection.stream).unread(connection.input.freeze())
        })
    }

    /// The next frame.
    pub fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(None);
        };
        let frame = match exchange.poll_upload(cx) {
            Err(error) => Err(error),
            Ok(()) => match ready!(exchange.poll_frame(cx, &mut self.coding)) {
                Ok(frame) => return Poll::Ready(frame.map(Ok)),
                Err(error) => Err(error.into()),
            },
        };
        self.exchange = None;
        Poll::Ready(Some(frame))
    }
}

impl Exchange {
    /// Writes what is left of the request beside its answer.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        match self.upload.poll(cx, &mut self.connection) {
            Poll::Ready(Err(UploadError::Source(error))) => Err(error),
            // An origin that reads no more may still answer: its side of the connection tells.
            Poll::Ready(Err(UploadError::Write(_)) | Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        coding: &mut Coding,
    ) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        let connection = &mut self.connection;
        loop {
            match coding {
                Coding::Length(left) => {
                    if !connection.input.is_empty() {
                        let here = connection.input.len();
                        let count = usize::try_from(*left).map_or(here, |left| left.min(here));
                        *left -= count as u64;
                        let data = if count == here {
                            // All of it: nothing has to be shared.
                            std::mem::take(&mut connection.input).freeze()
                        } else {
                            connection.input.split_to(count).freeze()
                        };
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                    let room = usize::try_from(*left).map_or(BODY_READ, |left| left.min(BODY_READ));
                    if ready!(connection.poll_fill(cx, room))? == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                Coding::Chunked(chunks) => match chunks.read(&mut connection.input) {
                    Err(error) => {
                        return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                    }
                    Ok(Chunk::Data(data)) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                    Ok(Chunk::Trailers(trailers)) => {
                        return Poll::Ready(Ok(Some(Frame::trailers(trailers))));
                    }
                    Ok(Chunk::End) => return Poll::Ready(Ok(None)),
                    Ok(Chunk::More) => {
                        if ready!(connection.poll_fill(cx, BODY_READ))? == 0 {
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                    }
                },
                Coding::Close => {
                    if !connection.input.is_empty() {
                        let data = connection.input.split().freeze();
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                    if ready!(connection.poll_fill(cx, BODY_READ))? == 0 {
                        *coding = Coding::Closed;
                        return Poll::Ready(Ok(None));
                    }
                }
                Coding::Closed | Coding::Switched => return Poll::Ready(Ok(None)),
            }
        }
    }
}
