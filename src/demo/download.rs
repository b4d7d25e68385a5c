//! `/download`: 50 MB that are the same in every region, with a strong `ETag` and byte ranges, so
//! that a transfer that breaks off can be resumed elsewhere (RFC 9110, sections 13.1.5 and 14).

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, header};

/// Where it is.
pub const PATH: &str = "/download";
/// How long it is.
pub const LENGTH: u64 = 50_000_000;
/// Its validator.
pub const ETAG: &str = "\"demo-download-1\"";
/// It consists of lines of this length, each the offset of its own first byte in decimal.
const LINE: u64 = 16;

/// What a request asks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first offset up to the one before the second.
    Range(u64, u64),
    /// Bytes that it does not have.
    Nothing,
}

impl Part {
    /// What the fields of a GET ask for. A range that is not understood, or several, is ignored,
    /// and so is one whose `If-Range` names anything but this very version.
    #[must_use]
    pub fn asked(headers: &HeaderMap) -> Self {
        let is_ours = |field: &http::HeaderValue| field.as_bytes() == ETAG.as_bytes();
        if !headers.get(header::IF_RANGE).is_none_or(is_ours) {
            return Self::Whole;
        }
        let range = headers.get(header::RANGE);
        let range = range.and_then(|range| range.to_str().ok());
        range.and_then(Self::of).unwrap_or(Self::Whole)
    }

    fn of(range: &str) -> Option<Self> {
        let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
        if first.is_empty() {
            let suffix: u64 = last.parse().ok()?;
            return Some(match suffix {
                0 => Self::Nothing,
                _ => Self::Range(LENGTH.saturating_sub(suffix), LENGTH),
            });
        }
        let first: u64 = first.parse().ok()?;
        let end = match last {
            "" => LENGTH,
            last => last.parse::<u64>().ok()?.saturating_add(1).min(LENGTH),
        };
        match first {
            _ if first >= LENGTH => Some(Self::Nothing),
            _ if first >= end => None,
            _ => Some(Self::Range(first, end)),
        }
    }
}

/// The bytes from one offset up to the one before another.
#[must_use]
pub fn bytes(from: u64, to: u64) -> Bytes {
    let first = from / LINE;
    let mut text = String::new();
    for line in first..to.div_ceil(LINE) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{:015}", line * LINE);
    }
    let skipped = usize::try_from(from - first * LINE).unwrap_or(0);
    let wanted = usize::try_from(to.saturating_sub(from)).unwrap_or(0);
    Bytes::from(text).slice(skipped..skipped + wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(header::HeaderName, &str)]) -> Part {
        let pairs = fields.iter();
        let pairs = pairs.map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Part::asked(&pairs.collect())
    }

    #[test]
    fn a_range_is_read_as_the_standard_says() {
        let range = |text: &str| asked(&[(header::RANGE, text)]);
        assert_eq!(range("bytes=0-0"), Part::Range(0, 1));
        assert_eq!(range("bytes=100-"), Part::Range(100, LENGTH));
        assert_eq!(range("bytes=-7"), Part::Range(LENGTH - 7, LENGTH));
        assert_eq!(range("bytes=5-99999999999"), Part::Range(5, LENGTH));
        assert_eq!(range("bytes=50000000-"), Part::Nothing);
        for ignored in ["lines=1-2", "bytes=9-3", "bytes=1-2,4-5", "bytes=x-"] {
            assert_eq!(range(ignored), Part::Whole, "{ignored}");
        }
        assert_eq!(asked(&[]), Part::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_answered_with_the_whole() {
        let range =
            |validator| asked(&[(header::RANGE, "bytes=5-9"), (header::IF_RANGE, validator)]);
        assert_eq!(range(ETAG), Part::Range(5, 10));
        assert_eq!(range("\"another\""), Part::Whole);
        assert_eq!(range("W/\"demo-download-1\""), Part::Whole);
    }

    #[test]
    fn every_line_tells_its_own_offset_wherever_the_range_begins() {
        assert_eq!(bytes(0, 32), "000000000000000\n000000000000016\n");
        assert_eq!(bytes(30, 33), "6\n0");
        assert_eq!(bytes(LENGTH - 3, LENGTH), "84\n");
        assert!(bytes(5, 5).is_empty());
    }
}
