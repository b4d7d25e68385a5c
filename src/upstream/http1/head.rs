//! The head of a response, from bytes.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode, Version};
use hyper::ext::ReasonPhrase;

use crate::upstream::http1::limits::HeadLimits;

/// Fields for which there is room without an allocation.
const FIELDS: usize = 100;

/// What is no head of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It breaks the grammar (RFC 9112 sections 2 to 5).
    #[error("it is no HTTP/1.1: {0}")]
    Syntax(httparse::Error),
    /// A field name or value that cannot be passed on.
    #[error("a header field is not valid")]
    Field,
    /// A number below 100 or above 999.
    #[error("{0} is no status")]
    Status(u16),
    /// More bytes than `limits.header_bytes` allows.
    #[error("its head is too large")]
    TooLarge,
    /// More fields than `limits.header_fields` allows.
    #[error("it has too many header fields")]
    TooManyFields,
}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            error => Self::Syntax(error),
        }
    }
}

/// A parsed head.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) response: Response<()>,
    /// Bytes it took.
    pub(super) length: usize,
}

/// Whether a head may end in `bytes` after the first `from`: a search costs less than to parse it
/// again for each byte of an origin that sends them one by one.
pub(super) fn head_end(bytes: &[u8], from: usize) -> bool {
    let mut rest = bytes.get(from..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        rest = &rest[end + 1..];
        if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
    }
    false
}

impl Head {
    /// Takes one head off `input`; nothing while it is not there whole.
    pub(super) fn parse(input: &mut BytesMut, limits: HeadLimits) -> Result<Option<Self>, BadHead> {
        let mut few = [const { MaybeUninit::uninit() }; FIELDS];
        let mut many;
        let room = if limits.fields <= FIELDS {
            &mut few[..limits.fields]
        } else {
            many = vec![MaybeUninit::uninit(); limits.fields];
            &mut many[..]
        };
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, input, room)?;
        let httparse::Status::Complete(length) = status else {
            return Ok(None);
        };
        if length > limits.bytes {
            return Err(BadHead::TooLarge);
        }
        let mut response = Response::new(());
        let code = parsed.code.unwrap_or_default();
        let status = StatusCode::from_u16(code).map_err(|_| BadHead::Status(code))?;
        *response.status_mut() = status;
        *response.version_mut() = match parsed.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        };
        let reason = parsed
            .reason
            .filter(|reason| !reason.is_empty() && Some(*reason) != status.canonical_reason());
        if let Some(reason) = reason
            && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        // A copy of just the head, which values can share: the bytes that were read are in a larger
        // buffer, which the body needs.
        let bytes = Bytes::copy_from_slice(&input[..length]);
        let start = input.as_ptr().addr();
        let mut headers = HeaderMap::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = field.value.as_ptr().addr() - start;
            let value = bytes.slice(value..value + field.value.len());
            let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value)) else {
                return Err(BadHead::Field);
            };
            headers.append(name, value);
        }
        *response.headers_mut() = headers;
        input.advance(length);
        Ok(Some(Self { response, length }))
    }

    /// Whether another head follows (RFC 9110 section 15.2). After `101` none does.
    pub(super) fn is_interim(&self) -> bool {
        let status = self.response.status();
        status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 1024,
        fields: 3,
    };

    fn parse(text: &str) -> Result<Option<Head>, BadHead> {
        Head::parse(&mut BytesMut::from(text), LIMITS)
    }

    #[test]
    fn a_head_is_taken_off_and_what_follows_is_left() {
        let mut input = BytesMut::from("HTTP/1.1 200 OK\r\nA: 1\r\na:  2 \r\n\r\nbody");
        let head = Head::parse(&mut input, LIMITS).unwrap().unwrap();
        assert_eq!(&input[..], b"body");
        assert_eq!(head.response.status(), 200);
        let values: Vec<_> = head.response.headers().get_all("a").iter().collect();
        assert_eq!(values, ["1", "2"]);
    }

    #[test]
    fn a_head_is_no_head_before_its_last_byte() {
        let whole = "HTTP/1.0 404 Gone fishing\r\nA: 1\r\n\r\n";
        for cut in 1..whole.len() {
            assert!(parse(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let head = parse(whole).unwrap().unwrap();
        assert_eq!(head.response.version(), Version::HTTP_10);
        let reason = head.response.extensions().get::<ReasonPhrase>().unwrap();
        assert_eq!(reason.as_bytes(), b"Gone fishing");
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_it_begins() {
        assert!(head_end(b"a\r\n\r\n", 0));
        assert!(head_end(b"a\n\n", 0));
        assert!(head_end(b"a\r\n\r\n", 2));
        assert!(!head_end(b"a\r\nb\r\n\r", 0));
        assert!(!head_end(b"", 0));
    }

    #[test]
    fn what_is_beyond_a_limit_or_no_http_is_refused() {
        let many = "HTTP/1.1 200 OK\r\na: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n";
        assert_eq!(parse(many).unwrap_err(), BadHead::TooManyFields);
        let large = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(2000));
        assert_eq!(parse(&large).unwrap_err(), BadHead::TooLarge);
        assert_eq!(
            parse("HTTP/1.1 099 No\r\n\r\n").unwrap_err(),
            BadHead::Status(99)
        );
        assert!(matches!(
            parse("SSH-2.0-x\r\n\r\n"),
            Err(BadHead::Syntax(_))
        ));
        let folded = "HTTP/1.1 200 OK\r\na: 1\r\n 2\r\n\r\n";
        assert!(matches!(parse(folded), Err(BadHead::Syntax(_))));
    }
}
