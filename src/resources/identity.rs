//! How this proxy names itself to others.

use http::Version;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use meridian_core::model::token::is_token;

/// `CDN-Loop` (RFC 8586).
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// How this proxy names itself to others, ready to be put on requests.
#[derive(Clone, Debug)]
pub struct Identity {
    name: String,
    via_http1: HeaderValue,
    via_http2: HeaderValue,
    cdn_loop: HeaderValue,
}

impl Identity {
    /// An identity for `name`, which must be a token (RFC 9110 section 5.6.2); `None` if it is
    /// not.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        if !is_token(name) {
            return None;
        }
        Some(Self {
            name: name.to_owned(),
            via_http1: HeaderValue::try_from(format!("1.1 {name}")).ok()?,
            via_http2: HeaderValue::try_from(format!("2.0 {name}")).ok()?,
            cdn_loop: HeaderValue::try_from(name).ok()?,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `Via` says of a request that came over `version` (RFC 9110 section 7.6.3).
    #[must_use]
    pub fn via(&self, version: Version) -> &HeaderValue {
        if version == Version::HTTP_2 {
            &self.via_http2
        } else {
            &self.via_http1
        }
    }

    /// Our token in `CDN-Loop`.
    #[must_use]
    pub fn cdn_loop(&self) -> &HeaderValue {
        &self.cdn_loop
    }

    /// Whether a request came through this proxy, or one of the same name, before (RFC 8586).
    #[must_use]
    pub fn is_in_loop(&self, headers: &HeaderMap) -> bool {
        headers.get_all(CDN_LOOP).iter().any(|value| {
            let Ok(list) = value.to_str() else {
                return false;
            };
            list.split(',').any(|entry| {
                let id = entry.split(';').next().unwrap_or_default().trim();
                id.eq_ignore_ascii_case(&self.name)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(list: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CDN_LOOP, HeaderValue::from_static(list))])
    }

    #[test]
    fn the_own_token_in_cdn_loop_is_a_loop_whatever_its_case_and_parameters() {
        let identity = Identity::new("meridian").unwrap();
        assert!(identity.is_in_loop(&through("other, Meridian;v=1")));
        assert!(!identity.is_in_loop(&through("meridian-2, x-meridian")));
        assert!(Identity::new("two words").is_none());
    }
}
