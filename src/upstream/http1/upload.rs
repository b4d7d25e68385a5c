//! The body of a request on its way out.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http::header::HeaderName;
use http_body::Body;

use crate::upstream::body::{BodyError, RequestBody};
use crate::upstream::http1::connection::Http1Connection;
use crate::upstream::http1::request::{Framing, RequestHead, field};

/// Frames up to this size are copied behind what is to be written already: one system call costs
/// more than the copy.
const COPIED: usize = 4 << 10;

/// A request's body, as far as it is written.
#[derive(Debug)]
pub(super) struct Upload {
    body: RequestBody,
    framing: Framing,
    /// A frame that was not copied.
    frame: Bytes,
    /// Which trailers the request announced.
    trailers: Vec<HeaderName>,
    /// The body's end is among what is to be written.
    has_all: bool,
    has_ended: bool,
    /// The origin takes no more.
    is_broken: bool,
}

/// Why a request was not written whole.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The viewer's side of it broke.
    Source(BodyError),
    /// The origin's side of it broke.
    Write(io::Error),
}

impl Upload {
    /// Begins a request: appends its head to `output`.
    pub(super) fn begin(head: &RequestHead<'_>, body: RequestBody, output: &mut Vec<u8>) -> Self {
        let is_empty = body.is_end_stream();
        let framing = match body.size_hint().exact() {
            _ if is_empty => Framing::Empty,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        head.write(framing, output);
        let trailers = match framing {
            Framing::Chunked => head.trailers(),
            Framing::Empty | Framing::Length(_) => Vec::new(),
        };
        Self {
            body,
            framing,
            frame: Bytes::new(),
            trailers,
            has_all: is_empty,
            has_ended: false,
            is_broken: false,
        }
    }

    /// Whether all of the request is written.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Writes on; ready at the request's end, or once it can go no further.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Http1Connection,
    ) -> Poll<Result<(), UploadError>> {
        while !self.has_ended && !self.is_broken {
            if !self.has_all && self.frame.is_empty() {
                self.poll_frames(cx, &mut connection.output)?;
            }
            let written = connection.poll_write(cx, &mut self.frame);
            if let Err(error) = ready!(written) {
                self.is_broken = true;
                return Poll::Ready(Err(UploadError::Write(error)));
            }
            if self.has_all {
                self.has_ended = true;
            } else {
                ready!(self.poll_frame(cx, &mut connection.output))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what frames are here and small, so that they are written with what goes before them.
    fn poll_frames(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
    ) -> Result<(), UploadError> {
        while !self.has_all && self.frame.is_empty() && output.len() < COPIED {
            match self.poll_frame(cx, output) {
                Poll::Ready(taken) => taken?,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Takes one frame.
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Vec<u8>,
    ) -> Poll<Result<(), UploadError>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = frame.transpose().map_err(UploadError::Source)?;
        let Some(frame) = frame else {
            self.end(None, output)?;
            return Poll::Ready(Ok(()));
        };
        match frame.into_data() {
            Ok(data) => self.data(data, output)?,
            Err(frame) => {
                let trailers = frame.into_trailers().ok();
                self.end(trailers.as_ref(), output)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn data(&mut self, data: Bytes, output: &mut Vec<u8>) -> Result<(), UploadError> {
        let length = data.len() as u64;
        match &mut self.framing {
            _ if data.is_empty() => return Ok(()),
            Framing::Length(left) if *left >= length => *left -= length,
            Framing::Chunked => {
                let _ = io::Write::write_fmt(output, format_args!("{length:x}\r\n"));
                output.extend_from_slice(&data);
                output.extend_from_slice(b"\r\n");
                return Ok(());
            }
            // More than it announced: the rest would be taken for another request.
            Framing::Length(_) | Framing::Empty => {
                return Err(UploadError::Source(BodyError::Unfinished));
            }
        }
        if data.len() <= COPIED {
            output.extend_from_slice(&data);
        } else {
            self.frame = data;
        }
        Ok(())
    }

    fn end(
        &mut self,
        trailers: Option<&HeaderMap>,
        output: &mut Vec<u8>,
    ) -> Result<(), UploadError> {
        match self.framing {
            Framing::Length(1..) => return Err(UploadError::Source(BodyError::Unfinished)),
            Framing::Empty | Framing::Length(0) => {}
            Framing::Chunked => {
                output.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if self.trailers.contains(name) {
                        field(output, name, value);
                    }
                }
                output.extend_from_slice(b"\r\n");
            }
        }
        self.has_all = true;
        Ok(())
    }
}
