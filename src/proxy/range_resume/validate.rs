//! What an answer says of its body, so that the rest of it can be had from somewhere else: the
//! bytes it is made of, and the tag that says which version of them (RFC 9110 sections 8.8.3 and 14).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::proxy::headers::only_value;
use crate::proxy::outgoing_head::OutgoingHead;

/// The bytes an answer promised to its viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct PromisedRange {
    etag: HeaderValue,
    encoding: Option<HeaderValue>,
    bytes: ByteRange,
}

/// Which bytes of how many, counted from zero, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByteRange {
    first: u64,
    last: u64,
    complete: u64,
}

/// Fields that would let a region answer with something else than the bytes that are missing. The
/// first region found that the viewer's conditions hold, and `If-Range` says for which version.
const CONDITIONS: [HeaderName; 4] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

impl PromisedRange {
    /// What `response` promises, if another region can be asked for the rest of just that: it is
    /// whole or one range, of known length, under a strong tag.
    pub(super) fn of<B>(response: &Response<B>) -> Option<Self> {
        let headers = response.headers();
        let etag = strong_etag(headers)?.clone();
        let length = number(only_value(headers, &header::CONTENT_LENGTH)?.as_bytes())?;
        let bytes = match response.status() {
            StatusCode::OK if accepts_ranges(headers) => ByteRange {
                first: 0,
                last: length.checked_sub(1)?,
                complete: length,
            },
            StatusCode::PARTIAL_CONTENT => ByteRange::of(headers)?,
            _ => return None,
        };
        let encoding = headers.get(header::CONTENT_ENCODING).cloned();
        (bytes.len() == length).then_some(Self {
            etag,
            encoding,
            bytes,
        })
    }

    /// How many bytes it is.
    pub(super) fn length(&self) -> u64 {
        self.bytes.len()
    }

    /// `head`, asking for all but the first `sent` bytes of what was promised.
    pub(super) fn range_head(&self, head: &OutgoingHead, sent: u64) -> OutgoingHead {
        let mut headers = head.headers.clone();
        for condition in CONDITIONS {
            headers.remove(condition);
        }
        let first = self.bytes.first.saturating_add(sent);
        let range = format!("bytes={first}-{}", self.bytes.last);
        if let Ok(range) = HeaderValue::try_from(range) {
            headers.insert(header::RANGE, range);
        }
        headers.insert(header::IF_RANGE, self.etag.clone());
        OutgoingHead {
            method: head.method.clone(),
            path: head.path.clone(),
            headers,
            added: head.added.clone(),
            host: head.host.clone(),
        }
    }

    /// Whether `response` is what is missing after the first `sent` bytes, all of it and nothing
    /// else: of the same version, the same length, and written the same way.
    pub(super) fn continues<B>(&self, response: &Response<B>, sent: u64) -> bool {
        let headers = response.headers();
        let missing = ByteRange {
            first: self.bytes.first.saturating_add(sent),
            ..self.bytes
        };
        // Without it only the bytes would tell that there are more of them, when they are gone.
        let length = only_value(headers, &header::CONTENT_LENGTH);
        let length = length.and_then(|length| number(length.as_bytes()));
        response.status() == StatusCode::PARTIAL_CONTENT
            && strong_etag(headers) == Some(&self.etag)
            && ByteRange::of(headers) == Some(missing)
            && headers.get(header::CONTENT_ENCODING) == self.encoding.as_ref()
            && !is_multipart(headers)
            && length == Some(missing.len())
    }
}

/// Whether the body is several ranges in an envelope (RFC 9110 section 15.3.7.2), whatever else the
/// head says.
fn is_multipart(headers: &HeaderMap) -> bool {
    const MULTIPART: &[u8] = b"multipart/";
    headers.get_all(header::CONTENT_TYPE).iter().any(|value| {
        let start = value.as_bytes().get(..MULTIPART.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(MULTIPART))
    })
}

impl ByteRange {
    /// What `Content-Range` says, if it says all: `bytes 0-9/100`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = only_value(headers, &header::CONTENT_RANGE)?.to_str().ok()?;
        let (unit, range) = value.split_once(' ')?;
        let (range, complete) = range.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let range = Self {
            first: number(first.as_bytes())?,
            last: number(last.as_bytes())?,
            complete: number(complete.as_bytes())?,
        };
        let makes_sense = range.first <= range.last && range.last < range.complete;
        (unit.eq_ignore_ascii_case("bytes") && makes_sense).then_some(range)
    }

    fn len(self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// The tag, if it stands for these very bytes: a weak one stands for others that mean the same.
fn strong_etag(headers: &HeaderMap) -> Option<&HeaderValue> {
    let etag = only_value(headers, &header::ETAG)?;
    let bytes = etag.as_bytes();
    let quoted = bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"");
    quoted.then_some(etag)
}

fn accepts_ranges(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_RANGES)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"bytes"))
}

/// Digits and nothing else; `parse` would take a sign too.
fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(text).ok().filter(|_| digits)?;
    // One less than the most, so that a length always fits.
    text.parse().ok().filter(|number| *number < u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::upstream::added_headers::AddedFields;
    use http::Method;
    use http::uri::PathAndQuery;

    use super::*;

    fn response(status: u16, fields: &[(&str, &str)]) -> Response<()> {
        let mut response = Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap()
    }

    const WHOLE: [(&str, &str); 3] = [
        ("etag", "\"v1\""),
        ("accept-ranges", "bytes"),
        ("content-length", "100"),
    ];

    fn part(range: &str, length: &str) -> Response<()> {
        let fields = [
            ("etag", "\"v1\""),
            ("content-range", range),
            ("content-length", length),
        ];
        response(206, &fields)
    }

    #[test]
    fn several_ranges_in_an_envelope_continue_nothing() {
        let promise = PromisedRange::of(&response(200, &WHOLE)).unwrap();
        let mut answer = part("bytes 40-99/100", "60");
        let kind = HeaderValue::from_static("Multipart/byteranges; boundary=x");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        assert!(!promise.continues(&answer, 40));
    }

    #[test]
    fn a_whole_answer_of_known_version_and_length_can_be_continued() {
        let promise = PromisedRange::of(&response(200, &WHOLE)).unwrap();
        assert_eq!(promise.length(), 100);
        assert!(promise.continues(&part("bytes 40-99/100", "60"), 40));
        for (other, length) in [
            ("bytes 41-99/100", "59"),
            ("bytes 40-98/100", "59"),
            ("bytes 40-99/101", "60"),
            ("bytes 40-99/100", "59"),
        ] {
            assert!(!promise.continues(&part(other, length), 40), "{other}");
        }
        for rubbish in [
            "40-99/100",
            "bytes 40-99/*",
            "bytes */100",
            "bytes +40-99/100",
            "bytes=40-99/100",
            "bytes 40-99/99999999999999999999",
            "",
        ] {
            assert!(!promise.continues(&part(rubbish, "60"), 40), "{rubbish}");
        }
    }

    #[test]
    fn an_answer_without_strong_tag_ranges_or_length_promises_nothing() {
        for (at, value) in [
            (0, "W/\"v1\""),
            (0, "v1"),
            (0, "\""),
            (1, "none"),
            (2, "0"),
            (2, "+9"),
        ] {
            let mut fields = WHOLE;
            fields[at].1 = value;
            assert_eq!(PromisedRange::of(&response(200, &fields)), None, "{value}");
        }
        for absent in 0..3 {
            let mut fields = WHOLE.to_vec();
            fields.remove(absent);
            assert_eq!(PromisedRange::of(&response(200, &fields)), None);
        }
        assert_eq!(PromisedRange::of(&response(203, &WHOLE)), None);
        let mut twice = WHOLE.to_vec();
        twice.push(("etag", "\"v2\""));
        assert_eq!(PromisedRange::of(&response(200, &twice)), None);
    }

    #[test]
    fn what_is_not_the_same_bytes_does_not_continue() {
        let promise = PromisedRange::of(&response(200, &WHOLE)).unwrap();
        let range = ("content-range", "bytes 40-99/100");
        let etag = ("etag", "\"v1\"");
        let length = ("content-length", "60");
        assert!(promise.continues(&response(206, &[etag, range, length]), 40));
        for (status, fields) in [
            (200, vec![etag, range, length]),
            (206, vec![range, length]),
            (206, vec![("etag", "\"v2\""), range, length]),
            (206, vec![("etag", "W/\"v1\""), range, length]),
            (206, vec![etag, length]),
            (206, vec![etag, range]),
            (206, vec![etag, range, length, ("content-encoding", "gzip")]),
            (206, vec![etag, range, ("content-length", "61")]),
        ] {
            let answer = response(status, &fields);
            assert!(!promise.continues(&answer, 40), "{fields:?}");
        }
    }

    #[test]
    fn the_rest_of_a_viewers_own_range_is_counted_from_the_whole() {
        let answer = response(
            206,
            &[
                ("etag", "\"v1\""),
                ("content-range", "bytes 100-199/1000"),
                ("content-length", "100"),
            ],
        );
        let promise = PromisedRange::of(&answer).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=100-199"));
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"v0\""));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let head = OutgoingHead {
            method: Method::GET,
            path: PathAndQuery::from_static("/film"),
            headers,
            added: AddedFields::default(),
            host: None,
        };
        let rest = promise.range_head(&head, 30).headers;
        assert_eq!(rest[header::RANGE], "bytes=130-199");
        assert_eq!(rest[header::IF_RANGE], "\"v1\"");
        assert_eq!(rest.len(), 3, "{rest:?}");
        assert!(promise.continues(&part("bytes 130-199/1000", "70"), 30));
        assert!(!promise.continues(&part("bytes 30-99/1000", "70"), 30));
    }
}
