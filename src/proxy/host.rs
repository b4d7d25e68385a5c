//! Which host a request is for.
//!
//! Routes, and with them residency, are chosen by the host. What an origin might read as another
//! host than we do (`user@a.example`, `a.example..`, `%61.example`) must not get past the line.

use std::net::Ipv6Addr;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};

use crate::proxy::error_response::ProxyError;

/// The longest name that DNS could have (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 255;

/// The host a request is for: the authority of its target, else its one `Host` field; `None` for
/// HTTP/1.0 and HTTP/2 without either. What is given is a name of letters, digits, `-`, `_` and
/// `.`, or an IPv6 address in brackets, with or without a port.
///
/// # Errors
/// When there are several, none where one is required, or one that is no host (RFC 9112 section
/// 3.2, RFC 9113 section 8.3.1).
pub(super) fn asked_host(parts: &Parts) -> Result<Option<HeaderValue>, ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::NotForwardable("CONNECT is not served here."));
    }
    check_form(&parts.uri)?;
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().cloned();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest(
            "The request has more than one Host field.",
        ));
    }
    if host.as_ref().is_some_and(|host| !is_host(host.as_bytes())) {
        return Err(ProxyError::BadRequest("The request's Host is no host."));
    }
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::try_from(authority.as_str()).ok();
        return host
            .filter(|host| is_host(host.as_bytes()))
            .map(Some)
            .ok_or(ProxyError::BadRequest(
                "The request's authority is no host.",
            ));
    }
    if host.is_none() && parts.version == Version::HTTP_11 {
        return Err(ProxyError::BadRequest("The request has no Host field."));
    }
    Ok(host)
}

/// A target with an authority is one of HTTP. An authority alone is for CONNECT (RFC 9112
/// section 3.2.3).
fn check_form(target: &Uri) -> Result<(), ProxyError> {
    match (target.scheme_str(), target.authority()) {
        (None, None) | (Some("http" | "https"), _) => Ok(()),
        (None, Some(_)) => Err(ProxyError::BadRequest("The request's target is no path.")),
        (Some(_), _) => Err(ProxyError::BadRequest(
            "The request's target is none of HTTP.",
        )),
    }
}

/// Whether `text` is `host` or `host:port`. Of what RFC 3986 section 3.2.2 allows in a name, only
/// what names of hosts are made of, and the underscore.
fn is_host(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else {
        return false;
    };
    let (host_is_fine, rest) = match text.strip_prefix('[') {
        Some(bracketed) => match bracketed.split_once(']') {
            Some((address, rest)) => (address.parse::<Ipv6Addr>().is_ok(), rest),
            None => return false,
        },
        None => {
            let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (is_name(name.as_bytes()), rest)
        }
    };
    host_is_fine && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

fn is_name(name: &[u8]) -> bool {
    let part_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    name.len() <= LONGEST_NAME
        && name.iter().all(part_of_name)
        && name.iter().any(|byte| *byte != b'.')
}

/// A port may be left out after its colon (RFC 3986 section 3.2.3).
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.is_empty() || text.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_perhaps_a_port() {
        for host in [
            "a",
            "API.example.com",
            "my_service:8080",
            "example.com.",
            "example.com:",
            "192.0.2.1:80",
            "[2001:db8::1]",
            "[::1]:8443",
        ] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        let long = "a".repeat(256);
        for other in [
            "",
            ".",
            ":80",
            "user@a.example",
            "u:p@a.example",
            "a.example,",
            "a.example/",
            "a.example?",
            "a.example#",
            "a%2eexample",
            "a.example:http",
            "a.example:80:80",
            "a.example:70000",
            "a.example\\",
            "a b",
            "[a.example]",
            "[::1",
            "[::1]x",
            "::1",
            "b\u{fc}cher.example",
            &long,
        ] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
        assert!(!is_host(b"a\xff.example"));
    }
}
