//! Whether the two sides agree to leave HTTP, as for a WebSocket.

use http::{HeaderMap, Response, Version, header};

use meridian_core::model::field_list;

/// Whether an origin agreed to leave HTTP.
pub(super) fn is_switching<B>(response: &Response<B>) -> bool {
    response.status() == http::StatusCode::SWITCHING_PROTOCOLS
}

/// Whether a `101` names only protocols that the request asked for (RFC 9110 section 7.8). There
/// is none in HTTP/2.
pub(super) fn is_asked_for<B>(response: &Response<B>, request: &HeaderMap) -> bool {
    let protocols = |headers| field_list::elements(headers, header::UPGRADE);
    let mut chosen = protocols(response.headers()).peekable();
    response.version() == Version::HTTP_11
        && chosen.peek().is_some()
        && chosen.all(|one| protocols(request).any(|asked| asked.eq_ignore_ascii_case(one)))
}

/// The fields a `101` must carry to the viewer.
pub(super) fn keep_upgrade_fields(headers: &mut HeaderMap) {
    headers.insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("upgrade"),
    );
}
