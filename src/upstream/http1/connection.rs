//! A connection to an origin: what is read, what is to be written, and whether it is still open.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWrite, ReadBuf};

use crate::upstream::connect::UpstreamStream;
use crate::upstream::http1::limits::HeadLimits;

/// Bytes read at once while a head is awaited: with it, as a rule, comes the whole of a small answer.
const SCRATCH: usize = 16 << 10;

/// Bytes for a request's head that a connection keeps while it is idle.
const KEPT_OUTPUT: usize = 2 << 10;

/// No limit of heads is smaller.
const LEAST_HEAD: usize = 8192;

/// Where the connections of one worker read heads to, before it is known how long they are.
#[derive(Clone, Debug)]
pub struct Scratch(Rc<RefCell<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; SCRATCH].into())))
    }
}

/// A connection that serves one request at a time.
#[derive(Debug)]
pub struct Http1Connection {
    pub(super) stream: UpstreamStream,
    /// What was read and not used yet.
    pub(super) input: BytesMut,
    /// What is to be written, from `written` on.
    pub(super) output: Vec<u8>,
    written: usize,
    /// Whether any byte of the present request has left.
    pub(super) has_sent: bool,
    /// The last answer had no body: should it have had one all the same, it may be about to come.
    pub(super) is_doubted: bool,
    pub(super) limits: HeadLimits,
    scratch: Scratch,
}

impl Http1Connection {
    /// A fresh connection.
    #[must_use]
    pub fn new(stream: UpstreamStream, limits: HeadLimits, scratch: Scratch) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            output: Vec::with_capacity(KEPT_OUTPUT / 2),
            written: 0,
            has_sent: false,
            is_doubted: false,
            limits: HeadLimits {
                bytes: limits.bytes.max(LEAST_HEAD),
                ..limits
            },
            scratch,
        }
    }

    /// Whether it can take a request: the origin has neither closed it nor said anything unasked.
    /// Costs no system call unless something happened on it, or the last answer had no body.
    pub fn is_open(&mut self) -> bool {
        if self.is_doubted && !self.stream.is_silent() {
            return false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut byte = [0; 1];
        let mut byte = ReadBuf::new(&mut byte);
        let polled =
            tokio::io::AsyncRead::poll_read(Pin::new(&mut self.stream), &mut cx, &mut byte);
        polled.is_pending()
    }

    /// Reads more, into memory of just the size of what came; 0 at the connection's end.
    pub(super) fn poll_fill_small(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut scratch = self.scratch.0.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        ready!(tokio::io::AsyncRead::poll_read(
            Pin::new(&mut self.stream),
            cx,
            &mut buffer
        ))?;
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads up to `room` bytes more; 0 at the connection's end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < room / 2 {
            if self.input.is_empty() {
                self.input = BytesMut::with_capacity(room);
            } else {
                self.input.reserve(room);
            }
        }
        // Reads once: the future keeps nothing between polls.
        let polled = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        if polled.is_pending() && self.input.is_empty() {
            // A stream of events may say nothing for long: none keeps so much room meanwhile.
            self.input = BytesMut::new();
        }
        polled
    }

    /// Writes all of the output, then `rest`, as far as the origin takes it.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        rest: &mut bytes::Bytes,
    ) -> Poll<io::Result<()>> {
        while self.written < self.output.len() || !rest.is_empty() {
            let output = &self.output[self.written..];
            let stream = Pin::new(&mut self.stream);
            let count = if rest.is_empty() {
                ready!(stream.poll_write(cx, output))?
            } else if output.is_empty() {
                ready!(stream.poll_write(cx, rest))?
            } else {
                let both = [io::IoSlice::new(output), io::IoSlice::new(rest)];
                ready!(stream.poll_write_vectored(cx, &both))?
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_sent = true;
            let of_output = count.min(self.output.len() - self.written);
            self.written += of_output;
            bytes::Buf::advance(rest, count - of_output);
        }
        self.output.clear();
        self.written = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Gives back the memory that only a request needs; a small buffer stays for the next one.
    pub(super) fn park(&mut self) {
        self.input = BytesMut::new();
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
    }
}
