//! The chunked transfer coding (RFC 9112 section 7.1), read.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::upstream::http1::limits::HeadLimits;

/// Bytes of a chunk's first line, its extensions with it: nobody uses them.
const LINE: usize = 1024;

/// Bytes of the extensions of all chunks of a body: an origin that sends single bytes with long
/// extensions would keep us busy for nothing.
const MOST_EXTENSIONS: usize = 16 << 10;

/// A body in chunks, as far as it was read.
#[derive(Debug)]
pub(super) struct Chunks {
    state: State,
    limits: HeadLimits,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A chunk's first line is due.
    Line,
    /// So many bytes of a chunk are due.
    Data(u64),
    /// The line break after a chunk is due.
    Break,
    /// Trailers, or the empty line in place of them.
    Trailers,
    Ended,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Chunk {
    /// Bytes of the body.
    Data(Bytes),
    /// Nothing whole; more has to be read.
    More,
    /// Trailers; the body has ended.
    Trailers(HeaderMap),
    /// The body has ended.
    End,
}

/// What is no body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chunked coding is broken")]
pub(super) struct BadChunk;

impl Chunks {
    pub(super) fn new(limits: HeadLimits) -> Self {
        Self {
            state: State::Line,
            limits,
            extensions: 0,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Takes what can be read now off `input`.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Chunk, BadChunk> {
        loop {
            match self.state {
                State::Line => match self.line(input)? {
                    None => return Ok(Chunk::More),
                    Some(0) => self.state = State::Trailers,
                    Some(length) => self.state = State::Data(length),
                },
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Chunk::More);
                    }
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(count).freeze();
                    let left = left - count as u64;
                    self.state = if left == 0 {
                        State::Break
                    } else {
                        State::Data(left)
                    };
                    return Ok(Chunk::Data(data));
                }
                State::Break => match input.get(..2) {
                    Some(b"\r\n") => {
                        let _ = input.split_to(2);
                        self.state = State::Line;
                    }
                    Some(_) => return Err(BadChunk),
                    None if matches!(input.first(), None | Some(b'\r')) => return Ok(Chunk::More),
                    None => return Err(BadChunk),
                },
                State::Trailers => return self.trailers(input),
                State::Ended => return Ok(Chunk::End),
            }
        }
    }

    /// The length on a chunk's first line.
    fn line(&mut self, input: &mut BytesMut) -> Result<Option<u64>, BadChunk> {
        let Some(end) = input.iter().take(LINE).position(|byte| *byte == b'\n') else {
            return if input.len() < LINE {
                Ok(None)
            } else {
                Err(BadChunk)
            };
        };
        let line = input.split_to(end + 1);
        let line = line.strip_suffix(b"\r\n").ok_or(BadChunk)?;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (length, rest) = line.split_at(digits);
        // White space and an extension may follow, nothing else.
        if !matches!(rest.trim_ascii_start(), [] | [b';', ..]) || rest.contains(&b'\r') {
            return Err(BadChunk);
        }
        self.extensions += rest.len();
        if self.extensions > MOST_EXTENSIONS {
            return Err(BadChunk);
        }
        let length = std::str::from_utf8(length).map_err(|_| BadChunk)?;
        let length = u64::from_str_radix(length, 16).map_err(|_| BadChunk)?;
        Ok(Some(length))
    }

    fn trailers(&mut self, input: &mut BytesMut) -> Result<Chunk, BadChunk> {
        if input.starts_with(b"\r\n") {
            let _ = input.split_to(2);
            self.state = State::Ended;
            return Ok(Chunk::End);
        }
        if input.len() > self.limits.bytes {
            return Err(BadChunk);
        }
        if !super::head::head_end(input, 0) {
            return Ok(Chunk::More);
        }
        let mut room = vec![httparse::EMPTY_HEADER; self.limits.fields];
        let parsed = httparse::parse_headers(input, &mut room).map_err(|_| BadChunk)?;
        let httparse::Status::Complete((length, fields)) = parsed else {
            return Ok(Chunk::More);
        };
        let mut trailers = HeaderMap::with_capacity(fields.len());
        for field in fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadChunk)?;
            let value = HeaderValue::from_bytes(field.value).map_err(|_| BadChunk)?;
            trailers.append(name, value);
        }
        let _ = input.split_to(length);
        self.state = State::Ended;
        Ok(Chunk::Trailers(trailers))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 8192,
        fields: 10,
    };

    type Read = (Vec<u8>, Option<HeaderMap>, Vec<u8>);

    /// Reads `text`, which comes in pieces of `size` bytes: the data, the trailers, what is left.
    fn read(text: &[u8], size: usize) -> Result<Read, BadChunk> {
        let mut chunks = Chunks::new(LIMITS);
        let (mut input, mut data) = (BytesMut::new(), Vec::new());
        let mut pieces = text.chunks(size);
        loop {
            match chunks.read(&mut input)? {
                Chunk::Data(bytes) => data.extend_from_slice(&bytes),
                Chunk::More => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Err(BadChunk),
                },
                Chunk::Trailers(trailers) => {
                    return Ok((data, Some(trailers), left(&input, pieces)));
                }
                Chunk::End => return Ok((data, None, left(&input, pieces))),
            }
        }
    }

    fn left<'a>(input: &[u8], pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let rest = pieces.flatten().copied();
        input.iter().copied().chain(rest).collect()
    }

    proptest! {
        #[test]
        fn whatever_the_pieces_the_same_is_read(size in 1_usize..40) {
            let text = b"5\r\nhello\r\n6 ; a=b\r\n world\r\n0\r\nx-sum: 7\r\n\r\nnext";
            let (data, trailers, left) = read(text, size).unwrap();
            prop_assert_eq!(data, b"hello world");
            prop_assert_eq!(&trailers.unwrap()["x-sum"], "7");
            prop_assert_eq!(left, b"next");
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..200), size in 1_usize..20) {
            let _ = read(&text, size);
        }
    }

    #[test]
    fn an_empty_body_has_no_trailers() {
        let (data, trailers, left) = read(b"000\r\n\r\nHTTP/1.1", 100).unwrap();
        assert!(data.is_empty() && trailers.is_none());
        assert_eq!(left, b"HTTP/1.1");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(LINE));
        for text in [
            "-1\r\n",
            "\r\n",
            "5\nhello\r\n0\r\n\r\n",
            "5\r\nhelloX\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5 5\r\nhello\r\n0\r\n\r\n",
            "10000000000000000\r\n",
            "5\r\nhello",
            &long,
        ] {
            assert_eq!(read(text.as_bytes(), 7).unwrap_err(), BadChunk, "{text}");
        }
    }
}
