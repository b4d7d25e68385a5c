//! Which trailers may be passed on.

use http::header::{HeaderMap, HeaderName};

/// Fields that say how a message is framed, routed, authenticated or read, or who sent it. Where
/// they are looked for, trailers come too late to be checked (RFC 9110 section 6.5.1).
const HEAD_ONLY: [&str; 37] = [
    "accept-encoding",
    "authorization",
    "cache-control",
    "cdn-loop",
    "cf-connecting-ip",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "host",
    "http2-settings",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-real-ip",
    "x-request-id",
    "x-viewer-country",
];

/// Families of such fields.
const HEAD_ONLY_FAMILIES: [&str; 2] = ["cloudfront-viewer-", "x-forwarded-"];

/// Fields of an answer that belong to one hop, say how it is framed or read, or set what a viewer
/// keeps: HTTP/2 may have none of the first, and viewers do not look for the others here.
const NOT_OF_ANSWERS: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "keep-alive",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Takes off every field that only a request's head may have. An underscore counts as a dash: behind
/// CGI and WSGI they are one.
pub fn strip_head_fields(trailers: &mut HeaderMap) {
    strip(trailers, is_head_only);
}

/// Takes off every field that an answer's trailers must not have (RFC 9110 section 6.5.1, RFC 9113
/// section 8.2.2).
pub fn strip_hop_fields(trailers: &mut HeaderMap) {
    strip(trailers, |name| NOT_OF_ANSWERS.contains(&name));
}

fn strip(trailers: &mut HeaderMap, is_stripped: impl Fn(&str) -> bool) {
    let stripped: Vec<HeaderName> = trailers
        .keys()
        .filter(|name| is_stripped(name.as_str()))
        .cloned()
        .collect();
    for name in stripped {
        trailers.remove(name);
    }
}

fn is_head_only(name: &str) -> bool {
    let name = name.replace('_', "-");
    HEAD_ONLY.contains(&name.as_str())
        || HEAD_ONLY_FAMILIES
            .iter()
            .any(|family| name.starts_with(family))
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn only_what_describes_the_content_is_left() {
        let names = [
            "x-forwarded-for",
            "cloudfront_viewer_country",
            "host",
            "content-length",
            "x_real_ip",
            "x-checksum",
            "grpc-status",
        ];
        let value = HeaderValue::from_static("1");
        let fields = names.map(|name| (HeaderName::from_static(name), value.clone()));
        let mut trailers = HeaderMap::from_iter(fields);
        strip_head_fields(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
