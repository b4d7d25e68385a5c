//! Fields that are put on every request, as text: a map of fields would have to grow for them, and
//! is written as text in the end.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Bytes that they take as a rule.
const USUAL: usize = 512;

/// Fields to be sent after the viewer's own.
#[derive(Clone, Debug)]
pub struct AddedFields(Vec<u8>);

impl Default for AddedFields {
    fn default() -> Self {
        Self(Vec::with_capacity(USUAL))
    }
}

impl AddedFields {
    /// Adds one field, whose value is one of a field already or a text of our own.
    pub fn add(&mut self, name: &HeaderName, value: &[u8]) {
        debug_assert!(HeaderValue::from_bytes(value).is_ok(), "{value:?}");
        let name = name.as_str().as_bytes();
        self.0.reserve(name.len() + value.len() + 4);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.extend_from_slice(b"\r\n");
    }

    /// The fields as HTTP/1.1 writes them, each with its line's end.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts the fields into `headers`, for HTTP/2.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        for line in self.0.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = line.split_at(colon);
            let value = value.strip_prefix(b": ").unwrap_or(value);
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn both_protocols_say_the_same() {
        let mut added = AddedFields::default();
        added.add(&header::VIA, b"1.1 one: two");
        added.add(&header::VIA, b"");
        assert_eq!(added.as_bytes(), b"via: 1.1 one: two\r\nvia: \r\n");
        let mut headers = HeaderMap::new();
        added.append_to(&mut headers);
        let values: Vec<_> = headers.get_all(header::VIA).iter().collect();
        assert_eq!(values, ["1.1 one: two", ""]);
        assert_eq!(headers.len(), 2);
    }
}
