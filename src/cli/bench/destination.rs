//! Where the requests go.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, PathAndQuery};

/// A URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destination {
    /// `https`.
    pub(super) is_tls: bool,
    /// Host, and port if it was written, as `Host` says it.
    pub(super) authority: Authority,
    /// The host as a resolver and a certificate know it: an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: PathAndQuery,
}

impl FromStr for Destination {
    type Err = String;

    /// Reads `http://HOST[:PORT][/PATH]` or `https://...`; without a scheme it is `http`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a URL such as http://127.0.0.1:8080/");
        let whole = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let uri: Uri = whole.parse().map_err(|_| expected())?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(expected()),
        };
        let authority = uri.authority().ok_or_else(expected)?.clone();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() || authority.as_str().contains('@') {
            return Err(expected());
        }
        let path = uri.path_and_query().cloned();
        Ok(Self {
            is_tls,
            port: authority
                .port_u16()
                .unwrap_or(if is_tls { 443 } else { 80 }),
            host,
            authority,
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_the_usual_port_and_path_unless_it_says_otherwise() {
        let read = |text: &str| text.parse::<Destination>().unwrap();
        let plain = read("http://example.com");
        assert_eq!((plain.is_tls, plain.port), (false, 80));
        assert_eq!(plain.to_string(), "http://example.com/");
        let tls = read("https://[::1]/a?b=c");
        assert_eq!(
            (tls.is_tls, tls.port, tls.host.as_str()),
            (true, 443, "::1")
        );
        assert_eq!(tls.to_string(), "https://[::1]/a?b=c");
        assert_eq!(
            read("localhost:8080/x").to_string(),
            "http://localhost:8080/x"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_with_an_example() {
        for wrong in ["", "/x", "ftp://h/", "http://", "http://u:p@h/", "a b"] {
            let said = wrong.parse::<Destination>().unwrap_err();
            assert!(said.contains("http://127.0.0.1:8080/"), "{wrong:?}: {said}");
        }
    }
}
