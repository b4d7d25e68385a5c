//! Header fields that are lists.

use http::HeaderMap;
use http::header::HeaderName;

/// The elements of all lines of the field `name`, without the space around them and without empty
/// ones (RFC 9110 section 5.6.1). Bytes, since one that is no text must not hide the others.
pub fn elements(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether the list has `element`, in whatever case.
#[must_use]
pub fn has(headers: &HeaderMap, name: HeaderName, element: &str) -> bool {
    elements(headers, name).any(|one| one.eq_ignore_ascii_case(element.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, HeaderValue};

    use super::*;

    #[test]
    fn an_element_is_found_on_any_line_and_beside_what_is_no_text() {
        let mut headers = HeaderMap::new();
        for line in [&b"a, ,\xff"[..], b" Close\t,b"] {
            headers.append(CONNECTION, HeaderValue::from_bytes(line).unwrap());
        }
        let all: Vec<_> = elements(&headers, CONNECTION).collect();
        assert_eq!(all, [&b"a"[..], b"\xff", b"Close", b"b"]);
        assert!(has(&headers, CONNECTION, "close"));
        assert!(!has(&headers, CONNECTION, "c"));
    }
}
