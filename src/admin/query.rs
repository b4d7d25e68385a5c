//! The query part of a URL.

/// Names and values of a query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

/// More pairs than any endpoint takes.
const MAX_PAIRS: usize = 32;

impl Query {
    /// Reads `a=b&c`; a name without `=` has an empty value. Pairs beyond a bound are left out.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let parts = query
            .unwrap_or_default()
            .split('&')
            .filter(|part| !part.is_empty());
        let pairs = parts.take(MAX_PAIRS).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        });
        Self {
            pairs: pairs.collect(),
        }
    }

    /// The first value of `name`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let pair = self.pairs.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// Whether `name` is there and is not `0` or `false`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| !matches!(value, "0" | "false"))
    }
}

/// Undoes percent encoding and `+`; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.split_at_checked(2).filter(|_| *first == b'%');
        let byte = escaped.and_then(|(digits, tail)| {
            let high = char::from(digits[0]).to_digit(16)?;
            let low = char::from(digits[1]).to_digit(16)?;
            Some((u8::try_from(high * 16 + low).ok()?, tail))
        });
        let (byte, tail) = byte.unwrap_or((if *first == b'+' { b' ' } else { *first }, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_rubbish_stays() {
        let query = Query::parse(Some("path=%2Fv1%2fx+y&verbose&bad=%zz%4&off=false"));
        assert_eq!(query.value("path"), Some("/v1/x y"));
        assert_eq!(query.value("bad"), Some("%zz%4"));
        assert!(query.flag("verbose"));
        assert!(!query.flag("off"));
        assert_eq!(query.value("absent"), None);
    }
}
