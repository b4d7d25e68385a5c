//! Who may ask the admin server, and for what.
//!
//! A browser on the operator's machine can reach a loopback port on behalf of any page it shows.
//! Two checks keep such pages out: the `Host` must be a name we answer to (a page that rebinds
//! its own name to 127.0.0.1 fails), and a change must not come from another origin.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

use meridian_core::config::Secret;

/// Whether a `Host` field names this server: a loopback name or address, or the bound address.
#[must_use]
pub fn host_is_ours(headers: &HeaderMap, bound: SocketAddr) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let name = without_port(host);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    name.parse::<IpAddr>()
        .is_ok_and(|address| address.is_loopback() || address == bound.ip())
}

/// The host without its port and without the brackets of an IPv6 address.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or("", |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Whether the caller holds the token. Takes the same time wherever the first difference is.
#[must_use]
pub fn token_matches(headers: &HeaderMap, token: &Secret) -> bool {
    let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some((scheme, given)) = given.and_then(|value| value.split_at_checked(7)) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && same_bytes(given, token.0.as_bytes())
}

/// Compares without an early exit; only the lengths show in the time taken.
fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |difference, (left, right)| {
        std::hint::black_box(difference | (left ^ right))
    });
    left.len() == right.len() && difference == 0
}

/// Whether a change is asked for by a page of another site. Callers that are no browsers send no
/// `Origin`.
#[must_use]
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().unwrap_or_default();
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    let site = origin.split_once("://").map(|(_, site)| site);
    !(site.is_some() && site == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_names_of_this_server_pass() {
        let bound: SocketAddr = "127.0.0.1:9901".parse().unwrap();
        for host in [
            "localhost:9901",
            "LOCALHOST",
            "127.0.0.1:9901",
            "[::1]:9901",
            "127.0.0.1",
        ] {
            assert!(host_is_ours(&headers(HOST, host), bound), "{host}");
        }
        for host in [
            "evil.example:9901",
            "localhost.evil.example",
            "10.0.0.1:9901",
            "",
            "[::1",
        ] {
            assert!(!host_is_ours(&headers(HOST, host), bound), "{host}");
        }
        assert!(!host_is_ours(&HeaderMap::new(), bound));
        let elsewhere = "10.0.0.1:9901".parse().unwrap();
        assert!(host_is_ours(&headers(HOST, "10.0.0.1:9901"), elsewhere));
    }

    #[test]
    fn a_token_must_match_whole() {
        let token = Secret("correct horse".to_owned());
        assert!(token_matches(
            &headers(AUTHORIZATION, "Bearer correct horse"),
            &token
        ));
        assert!(token_matches(
            &headers(AUTHORIZATION, "bearer correct horse"),
            &token
        ));
        for wrong in [
            "Bearer correct hors",
            "Bearer correct horse2",
            "Basic correct horse",
            "B",
        ] {
            assert!(
                !token_matches(&headers(AUTHORIZATION, wrong), &token),
                "{wrong}"
            );
        }
        assert!(!token_matches(&HeaderMap::new(), &token));
    }

    #[test]
    fn a_page_of_another_site_is_told_apart() {
        let mut both = headers(HOST, "localhost:9901");
        assert!(!is_cross_site(&both));
        both.insert(ORIGIN, HeaderValue::from_static("http://localhost:9901"));
        assert!(!is_cross_site(&both));
        for other in ["https://evil.example", "null", "http://localhost:80"] {
            both.insert(ORIGIN, HeaderValue::from_static(other));
            assert!(is_cross_site(&both), "{other}");
        }
    }
}
