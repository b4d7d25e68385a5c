//! Whether a response's head says one thing only of where its body ends.

use http::HeaderMap;
use http::header::{self, HeaderValue};

/// A head whose body could end at two places, or at none that we can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// Two ways to tell the length (RFC 9112 section 6.1).
    #[error("the response has both Content-Length and Transfer-Encoding")]
    Both,
    /// A coding that would be lost on the way.
    #[error("the response has a transfer coding other than chunked")]
    Coding,
    /// Not one number (RFC 9110 section 8.6).
    #[error("the response's Content-Length is not one number")]
    Length,
}

/// Checks the fields that frame a response's body, and leaves one `Content-Length` of several
/// equal ones: a viewer that reads the list in another way than we would see another body.
///
/// # Errors
/// What makes the length doubtful; the connection cannot be used again then.
pub fn settle_framing(headers: &mut HeaderMap) -> Result<(), FramingError> {
    let coded = headers.contains_key(header::TRANSFER_ENCODING);
    if coded && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(FramingError::Both);
    }
    if coded && !is_only_chunked(headers) {
        return Err(FramingError::Coding);
    }
    let Some(length) = one_length(headers)? else {
        return Ok(());
    };
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(())
}

/// Whether `chunked` is all that `Transfer-Encoding` says: any other coding would be lost with the
/// field, which belongs to one hop.
#[must_use]
pub fn is_only_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next();
    first.is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

/// The number to write instead of a list of equal ones; nothing if there is no list.
fn one_length(headers: &HeaderMap) -> Result<Option<u64>, FramingError> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(first), second) = (values.next(), values.next()) else {
        return Ok(None);
    };
    // As a rule it is one, and a number that cannot be too large.
    let digits = first.as_bytes();
    if second.is_none() && (1..19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
    {
        return Ok(None);
    }
    let mut seen = None;
    let mut count = 0;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let list = value.to_str().map_err(|_| FramingError::Length)?;
        for text in list.split(',') {
            let text = text.trim();
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = match text.parse() {
                Ok(number) if digits => number,
                _ => return Err(FramingError::Length),
            };
            if seen.is_some_and(|seen| seen != number) {
                return Err(FramingError::Length);
            }
            seen = Some(number);
            count += 1;
        }
    }
    Ok(seen.filter(|_| count > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(fields: &[(&'static str, &'static str)]) -> Result<Vec<String>, FramingError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        settle_framing(&mut headers)?;
        let lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        Ok(lengths
            .map(|value| value.to_str().unwrap().to_owned())
            .collect())
    }

    #[test]
    fn equal_lengths_become_one_and_unequal_ones_are_refused() {
        let length = "content-length";
        assert_eq!(settled(&[(length, "5, 5")]), Ok(vec!["5".to_owned()]));
        let twice = [(length, "5"), (length, "5")];
        assert_eq!(settled(&twice), Ok(vec!["5".to_owned()]));
        assert_eq!(settled(&[(length, "7")]), Ok(vec!["7".to_owned()]));
        for value in ["5, 6", "+5", "", "5,", "0x5", "99999999999999999999"] {
            assert_eq!(settled(&[(length, value)]), Err(FramingError::Length));
        }
    }

    #[test]
    fn only_chunked_is_a_coding_that_passes() {
        let coding = "transfer-encoding";
        assert_eq!(settled(&[(coding, "Chunked")]), Ok(Vec::new()));
        for value in ["gzip, chunked", "identity", "chunked, chunked", "xchunked"] {
            assert_eq!(settled(&[(coding, value)]), Err(FramingError::Coding));
        }
        let both = [(coding, "chunked"), ("content-length", "3")];
        assert_eq!(settled(&both), Err(FramingError::Both));
    }
}
