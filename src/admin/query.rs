//! The query part of a URL.

/// More pairs than any endpoint takes.
const MAX_PAIRS: usize = 32;

/// Names and values of a query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads `a=b&c`; a name without `=` has an empty value, and what is no valid escape stays as it
    /// is. Pairs beyond a bound are left out.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self {
            pairs: pairs
                .take(MAX_PAIRS)
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
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
