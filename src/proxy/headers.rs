//! Header fields on their way through: what belongs to one hop is taken off, what tells the next
//! hop about this one is put on.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::proxy::trace::{TRACEPARENT, TraceContext};
use crate::resources::identity::{CDN_LOOP, Identity};
use crate::upstream::added_headers::AddedFields;
use meridian_core::model::field_list;
use meridian_core::model::viewer::Viewer;

/// `X-Forwarded-For`: the addresses a request came through.
pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`: the viewer's scheme.
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`: the host the viewer asked for.
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Forwarded-Port`: the port the viewer asked at.
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// `X-Viewer-Country`: what we learned, for the origin.
pub(super) const X_VIEWER_COUNTRY: HeaderName = HeaderName::from_static("x-viewer-country");
/// `X-Request-Id`: the trace id, so that one id finds the request everywhere.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context, the vendors' part.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `Idempotency-Key`: the viewer's promise that a repeat is recognised.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `Proxy-Status` (RFC 9209).
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Takes off every field that belongs to one hop (RFC 9110 section 7.6.1), those that
/// `Connection` names too. `TE: trailers` stays: a server answers gRPC only with it. With
/// `upgrade`, the two fields of a protocol upgrade stay.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap, upgrade: bool) {
    // One look at the names costs less than a search for each.
    if !headers.keys().any(is_of_one_hop) {
        return;
    }
    if headers.contains_key(header::CONNECTION) {
        strip_named_by_connection(headers, upgrade);
    }
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
    // Half of an offer of h2c, which is never passed on (RFC 9113 section 3.1).
    headers.remove(HTTP2_SETTINGS);
    headers.remove(header::PROXY_AUTHORIZATION);
    headers.remove(header::TRANSFER_ENCODING);
    if !upgrade {
        headers.remove(header::UPGRADE);
    }
    if headers.contains_key(header::TE) {
        let trailers = field_list::has(headers, header::TE, "trailers");
        headers.remove(header::TE);
        if trailers {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Whether it is one of the fields that [`strip_hop_by_hop`] looks at.
fn is_of_one_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy-authorization"
            | "transfer-encoding"
            | "upgrade"
            | "te"
    )
}

fn strip_named_by_connection(headers: &mut HeaderMap, upgrade: bool) {
    let named: Vec<HeaderName> = field_list::elements(headers, header::CONNECTION)
        // The commonest: `Keep-Alive` goes anyway, and `close` names no field.
        .filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"))
        .filter(|name| !name.eq_ignore_ascii_case(b"close"))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        // The sender must not name these (RFC 9110 section 7.6.1); to obey would change what the
        // message means.
        .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TE))
        // Without its key the origin cannot tell that a repeat is one.
        .filter(|name| *name != IDEMPOTENCY_KEY)
        .filter(|name| !(upgrade && *name == header::UPGRADE))
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
    if upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
}

/// The value of a field that is there once. Of one that is there more often, somebody else than who
/// should may have sent a part: none is believed.
pub(super) fn only_value<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether the connection ends with this message.
pub(super) fn says_close(headers: &HeaderMap) -> bool {
    field_list::has(headers, header::CONNECTION, "close")
}

/// What is known of the hop a request came over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<'a> {
    /// Who connected (after a PROXY header).
    pub(super) peer: &'a str,
    /// Whether what it says of the hops before is believed.
    pub(super) trusted: bool,
    /// Whether it came over TLS.
    pub(super) secure: bool,
    /// The listener's port.
    pub(super) port: u16,
    /// The HTTP version it spoke.
    pub(super) version: Version,
    /// The host it asked for.
    pub(super) host: Option<&'a HeaderValue>,
}

/// What tells an origin about the viewer and about us. What the viewer says of the same is taken
/// off `headers`, unless it is believed.
pub(super) fn announce(
    headers: &mut HeaderMap,
    identity: &Identity,
    hop: Hop<'_>,
    viewer: &Viewer,
    trace: &TraceContext,
) -> AddedFields {
    let mut added = AddedFields::default();
    // As a rule there is nothing to take off, and one look at the names tells.
    let mut taken = headers.keys().any(is_announced).then_some(headers);
    announce_forwarded(&mut added, taken.as_deref_mut(), hop);
    added.add(&header::VIA, identity.via(hop.version).as_bytes());
    added.add(&CDN_LOOP, identity.cdn_loop().as_bytes());
    if let Some(country) = viewer.country {
        added.add(&X_VIEWER_COUNTRY, country.as_str().as_bytes());
    }
    let mut has_id = false;
    if let Some(headers) = taken {
        headers.remove(X_VIEWER_COUNTRY);
        has_id = hop.trusted && headers.contains_key(X_REQUEST_ID);
        if !has_id {
            headers.remove(X_REQUEST_ID);
        }
        if !trace.is_continued() {
            headers.remove(TRACESTATE);
        }
        headers.remove(TRACEPARENT);
    }
    if !has_id {
        added.add(&X_REQUEST_ID, &trace.id());
    }
    added.add(&TRACEPARENT, &trace.parent());
    added
}

/// Whether it is one of the fields that [`announce`] may take off.
fn is_announced(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-port"
            | "x-forwarded-host"
            | "x-viewer-country"
            | "x-request-id"
            | "traceparent"
            | "tracestate"
    )
}

/// `X-Forwarded-*`: appended to what a trusted peer says, in place of what anyone else says.
/// `headers` is there if it may have any of them.
fn announce_forwarded(added: &mut AddedFields, mut headers: Option<&mut HeaderMap>, hop: Hop<'_>) {
    let before = headers.as_mut().and_then(|headers| {
        if !hop.trusted {
            headers.remove(header::FORWARDED);
        }
        let before = joined(headers);
        headers.remove(X_FORWARDED_FOR);
        before.filter(|_| hop.trusted)
    });
    match before {
        None => added.add(&X_FORWARDED_FOR, hop.peer.as_bytes()),
        Some(before) => added.add(&X_FORWARDED_FOR, (before + hop.peer).as_bytes()),
    }
    // Whether a trusted peer has said it already; what anyone else says goes.
    let mut is_said = |name: HeaderName| {
        headers.as_mut().is_some_and(|headers| {
            let is_said = hop.trusted && headers.contains_key(&name);
            if !is_said {
                headers.remove(name);
            }
            is_said
        })
    };
    if !is_said(X_FORWARDED_PROTO) {
        let scheme = if hop.secure { "https" } else { "http" };
        added.add(&X_FORWARDED_PROTO, scheme.as_bytes());
    }
    if !is_said(X_FORWARDED_PORT) {
        let mut digits = itoa::Buffer::new();
        added.add(&X_FORWARDED_PORT, digits.format(hop.port).as_bytes());
    }
    if !is_said(X_FORWARDED_HOST)
        && let Some(host) = hop.host
    {
        added.add(&X_FORWARDED_HOST, host.as_bytes());
    }
}

/// All `X-Forwarded-For` fields as one list with room for another address; nothing if there is
/// none that can be read.
fn joined(headers: &HeaderMap) -> Option<String> {
    headers.get(X_FORWARDED_FOR)?.to_str().ok()?;
    let mut list = String::new();
    for value in headers.get_all(X_FORWARDED_FOR) {
        if let Ok(part) = value.to_str() {
            list.push_str(part);
            list.push_str(", ");
        }
    }
    Some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn fields_that_connection_names_are_taken_off() {
        let mut headers = fields(&[
            ("connection", "close, X-Secret"),
            ("connection", "x-other"),
            ("x-secret", "1"),
            ("x-other", "2"),
            ("keep-alive", "timeout=5"),
            ("x-kept", "3"),
        ]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, fields(&[("x-kept", "3")]));
    }

    #[test]
    fn connection_cannot_take_off_the_host_or_the_length() {
        let mut headers = fields(&[
            ("connection", "host, content-length"),
            ("host", "a"),
            ("content-length", "3"),
        ]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, fields(&[("host", "a"), ("content-length", "3")]));
    }

    #[test]
    fn connection_cannot_take_off_the_key_that_makes_a_repeat_safe() {
        let mut headers = fields(&[("connection", "idempotency-key"), ("idempotency-key", "7")]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, fields(&[("idempotency-key", "7")]));
    }

    #[test]
    fn settings_of_h2c_go_though_connection_does_not_name_them() {
        let mut headers = fields(&[("http2-settings", "AAMAAABk")]);
        strip_hop_by_hop(&mut headers, false);
        assert!(headers.is_empty());
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        let mut headers = fields(&[("te", "gzip;q=0.5, Trailers")]);
        strip_hop_by_hop(&mut headers, false);
        assert_eq!(headers, fields(&[("te", "trailers")]));
        let mut headers = fields(&[("te", "gzip")]);
        strip_hop_by_hop(&mut headers, false);
        assert!(headers.is_empty());
    }

    #[test]
    fn an_upgrade_keeps_its_two_fields() {
        let mut headers = fields(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
        ]);
        strip_hop_by_hop(&mut headers, true);
        assert_eq!(
            headers,
            fields(&[("upgrade", "websocket"), ("connection", "upgrade")])
        );
    }

    #[test]
    fn forwarded_for_is_appended_for_a_trusted_peer_and_replaced_for_others() {
        let hop = Hop {
            peer: "192.0.2.7",
            trusted: true,
            secure: true,
            port: 443,
            version: Version::HTTP_11,
            host: None,
        };
        let before = fields(&[
            ("forwarded", "for=198.51.100.1"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "10.0.0.1"),
        ]);
        let announced = |mut headers: HeaderMap, hop| {
            let mut added = AddedFields::default();
            announce_forwarded(&mut added, Some(&mut headers), hop);
            added.append_to(&mut headers);
            headers
        };
        let headers = announced(before.clone(), hop);
        assert_eq!(
            headers[X_FORWARDED_FOR],
            "198.51.100.1, 10.0.0.1, 192.0.2.7"
        );
        assert!(headers.contains_key("forwarded"));
        let stranger = Hop {
            trusted: false,
            ..hop
        };
        let headers = announced(before, stranger);
        assert_eq!(headers.get_all(X_FORWARDED_FOR).iter().count(), 1);
        assert_eq!(headers[X_FORWARDED_FOR], "192.0.2.7");
        assert_eq!(headers[X_FORWARDED_PROTO], "https");
        assert!(!headers.contains_key("forwarded"));
    }
}
