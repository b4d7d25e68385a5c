//! The head of a request, as bytes.

use http::Method;

use crate::upstream::added_headers::AddedFields;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// What a request begins with.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query, in origin form (RFC 9112 section 3.2.1).
    pub target: &'a str,
    /// The `Host` field.
    pub host: &'a HeaderValue,
    /// The viewer's fields. `Host` among them is not written, and those that frame the body are taken
    /// from the body instead.
    pub headers: &'a HeaderMap,
    /// Further fields.
    pub added: &'a AddedFields,
}

/// How a request's body is told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What a field takes beside its name and value.
const FIELD_EXTRA: usize = 4;

impl RequestHead<'_> {
    /// Appends the head, with the fields that `framing` needs.
    pub(super) fn write(&self, framing: Framing, output: &mut Vec<u8>) {
        output.extend_from_slice(self.method.as_str().as_bytes());
        output.push(b' ');
        output.extend_from_slice(self.target.as_bytes());
        output.extend_from_slice(b" HTTP/1.1\r\n");
        field(output, &header::HOST, self.host);
        let mut has_cookie = false;
        for (name, value) in self.headers {
            if *name == header::COOKIE {
                if !std::mem::replace(&mut has_cookie, true) {
                    self.write_cookies(output);
                }
            } else if *name == header::CONTENT_LENGTH {
                // A length of nothing is worth saying; any other is the body's own.
                if framing == Framing::Empty && value.as_bytes() == b"0" {
                    field(output, name, value);
                }
            } else if *name != header::TRANSFER_ENCODING && *name != header::HOST {
                field(output, name, value);
            }
        }
        output.extend_from_slice(self.added.as_bytes());
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                output.extend_from_slice(b"content-length: ");
                output.extend_from_slice(digits.format(length).as_bytes());
                output.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => output.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        output.extend_from_slice(b"\r\n");
    }

    /// One `Cookie` field of the many that HTTP/2 allows (RFC 9113 section 8.2.3): HTTP/1.1 servers
    /// read the first only.
    fn write_cookies(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"cookie: ");
        for (number, crumb) in self.headers.get_all(header::COOKIE).iter().enumerate() {
            if number > 0 {
                output.extend_from_slice(b"; ");
            }
            output.extend_from_slice(crumb.as_bytes());
        }
        output.extend_from_slice(b"\r\n");
    }

    /// The names of fields that are announced as trailers (RFC 9110 section 6.6.2): others may not
    /// be expected.
    pub(super) fn trailers(&self) -> Vec<HeaderName> {
        let lists = self.headers.get_all(header::TRAILER).iter();
        let names = lists
            .filter_map(|list| list.to_str().ok())
            .flat_map(|list| list.split(','));
        names
            .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
            .collect()
    }
}

/// Appends one field.
pub(super) fn field(output: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    output.reserve(name.len() + value.len() + FIELD_EXTRA);
    output.extend_from_slice(name);
    output.extend_from_slice(b": ");
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fields: &[(HeaderName, &'static str)], framing: Framing) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        let head = RequestHead {
            method: &Method::GET,
            target: "/a?b",
            host: &HeaderValue::from_static("one.example"),
            headers: &headers,
            added: &AddedFields::default(),
        };
        let mut output = Vec::new();
        head.write(framing, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_head_has_its_host_and_its_fields() {
        let text = written(&[(header::ACCEPT, "*/*")], Framing::Empty);
        assert_eq!(
            text,
            "GET /a?b HTTP/1.1\r\nhost: one.example\r\naccept: */*\r\n\r\n"
        );
    }

    #[test]
    fn crumbs_of_cookies_become_one_field() {
        let text = written(
            &[(header::COOKIE, "a=1"), (header::COOKIE, "b=2")],
            Framing::Empty,
        );
        assert!(text.contains("\r\ncookie: a=1; b=2\r\n\r\n"), "{text}");
    }

    #[test]
    fn the_body_says_how_long_it_is_whatever_the_fields_say() {
        let fields = [
            (header::CONTENT_LENGTH, "7"),
            (header::TRANSFER_ENCODING, "gzip"),
        ];
        let sized = written(&fields, Framing::Length(5));
        assert!(sized.ends_with("\r\ncontent-length: 5\r\n\r\n"), "{sized}");
        assert!(!sized.contains("gzip") && !sized.contains('7'), "{sized}");
        let chunked = written(&fields, Framing::Chunked);
        assert!(
            chunked.ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"),
            "{chunked}"
        );
        let empty = written(&fields, Framing::Empty);
        assert!(!empty.contains("content-length"), "{empty}");
        let nothing = written(&[(header::CONTENT_LENGTH, "0")], Framing::Empty);
        assert!(nothing.contains("\r\ncontent-length: 0\r\n"), "{nothing}");
    }
}
