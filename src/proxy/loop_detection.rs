//! A request that came through this proxy before is refused (RFC 8586).

use http::header::HeaderMap;

use crate::proxy::error_response::ProxyError;
use crate::resources::identity::Identity;

/// # Errors
/// [`ProxyError::Loop`] if the request came through a proxy of our name.
pub(super) fn refuse_loop(identity: &Identity, headers: &HeaderMap) -> Result<(), ProxyError> {
    if identity.is_in_loop(headers) {
        return Err(ProxyError::Loop);
    }
    Ok(())
}
