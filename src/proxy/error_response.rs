//! What a viewer is told when no origin's answer can be had.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use sfv::{KeyRef, ListSerializer, StringRef, TokenRef};

use crate::proxy::headers::PROXY_STATUS;
use meridian_core::decide::NoDecision;
use meridian_core::decide::failover::GiveUp;
use meridian_core::model::outcome::ErrorKind;

/// Why a request gets an answer of our own. `Display` is what the log says; the viewer's text
/// names nothing behind the proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProxyError {
    /// No region may or can serve it.
    #[error("{0}")]
    NoDecision(#[from] NoDecision),
    /// It came through this proxy before.
    #[error("the request came through this proxy before")]
    Loop,
    /// The method or form of the request is none that can be forwarded.
    #[error("{0}")]
    NotForwardable(&'static str),
    /// The request breaks a rule of HTTP that its framing did not show.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The viewer's own body broke off or stood still.
    #[error("the viewer's body broke off")]
    ViewerBody,
    /// Every attempt failed.
    #[error("no region answered: the last attempt ended with {}: {detail}", kind.label())]
    Failed {
        /// How the last attempt ended.
        kind: ErrorKind,
        /// More of it, for the log.
        detail: String,
        /// The region it was sent to, by name.
        region: Option<String>,
        /// Why no other attempt was made.
        gave_up: GiveUp,
    },
}

impl ProxyError {
    /// The status a viewer gets.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoDecision(NoDecision::NoRoute) => StatusCode::NOT_FOUND,
            Self::NoDecision(NoDecision::UnknownViewer(_)) => StatusCode::FORBIDDEN,
            Self::NoDecision(NoDecision::NoRegion(_)) => StatusCode::SERVICE_UNAVAILABLE,
            // RFC 5842 section 7.2, as RFC 8586 asks.
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NotForwardable(_) => StatusCode::NOT_IMPLEMENTED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::ViewerBody => StatusCode::REQUEST_TIMEOUT,
            Self::Failed { kind, .. } => match kind {
                ErrorKind::ConnectTimeout | ErrorKind::TlsTimeout | ErrorKind::FirstByteTimeout => {
                    StatusCode::GATEWAY_TIMEOUT
                }
                ErrorKind::NoEndpoint => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// The error's name in the registry of RFC 9209 section 2.3.
    pub(super) fn proxy_status(&self) -> &'static str {
        match self {
            Self::NoDecision(NoDecision::NoRoute) => "destination_not_found",
            Self::NoDecision(NoDecision::UnknownViewer(_)) => "http_request_denied",
            Self::NoDecision(NoDecision::NoRegion(_)) => "destination_unavailable",
            Self::Loop => "proxy_loop_detected",
            Self::NotForwardable(_) | Self::BadRequest(_) | Self::ViewerBody => {
                "http_request_error"
            }
            Self::Failed { kind, .. } => match kind {
                ErrorKind::NoEndpoint => "dns_error",
                ErrorKind::ConnectRefused => "connection_refused",
                ErrorKind::ConnectTimeout | ErrorKind::TlsTimeout => "connection_timeout",
                ErrorKind::ConnectFailed => "destination_ip_unroutable",
                ErrorKind::TlsFailed => "tls_certificate_error",
                ErrorKind::ClosedBeforeSend
                | ErrorKind::Unprocessed
                | ErrorKind::ReusedReset
                | ErrorKind::FreshReset => "connection_terminated",
                ErrorKind::FirstByteTimeout => "http_response_timeout",
                ErrorKind::BadResponse => "http_protocol_error",
                ErrorKind::GatewayStatus => "destination_unavailable",
                ErrorKind::BodyBroken => "http_response_incomplete",
                ErrorKind::ViewerBody => "http_request_error",
            },
        }
    }

    /// One sentence for the viewer: nothing of addresses or names behind the proxy.
    fn public(&self) -> &'static str {
        match self {
            Self::NoDecision(NoDecision::NoRoute) => "Nothing is served under this host and path.",
            Self::NoDecision(NoDecision::UnknownViewer(_)) => {
                "This data is bound to countries, and yours could not be learned."
            }
            Self::NoDecision(NoDecision::NoRegion(_)) => {
                "No region that may serve you is available now."
            }
            Self::Loop => "The request came through this proxy before.",
            Self::NotForwardable(reason) | Self::BadRequest(reason) => reason,
            Self::ViewerBody => "The request's body did not arrive.",
            Self::Failed { .. } => "No region could answer.",
        }
    }

    /// The whole answer. `name` is how this proxy calls itself, `request_id` what to quote.
    pub(super) fn response(&self, name: &str, request_id: &[u8]) -> Response<Bytes> {
        let text = format!(
            "{}\nrequest {}\n",
            self.public(),
            String::from_utf8_lossy(request_id)
        );
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from_static(RETRY_AFTER_SECONDS),
            );
        }
        if let Some(value) = self.proxy_status_field(name) {
            headers.insert(PROXY_STATUS, value);
        }
        response
    }

    /// `Proxy-Status` (RFC 9209): who we are, the error, the region, and why no other was tried.
    fn proxy_status_field(&self, name: &str) -> Option<HeaderValue> {
        let error = TokenRef::from_str(self.proxy_status()).ok()?;
        let mut list = ListSerializer::new();
        let mut item = list
            .bare_item(TokenRef::from_str(name).ok()?)
            .parameter(KeyRef::constant("error"), error);
        if let Self::Failed {
            region, gave_up, ..
        } = self
        {
            if let Some(Ok(region)) = region.as_deref().map(StringRef::from_str) {
                item = item.parameter(KeyRef::constant("next-hop"), region);
            }
            if let Ok(details) = StringRef::from_str(gave_up.label()) {
                item = item.parameter(KeyRef::constant("details"), details);
            }
        }
        let _ = item.finish();
        HeaderValue::try_from(list.finish()?).ok()
    }
}

/// Health changes within seconds; a viewer that waits longer waits for nothing.
const RETRY_AFTER_SECONDS: &str = "2";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_itself_and_the_region_but_no_address() {
        let error = ProxyError::Failed {
            kind: ErrorKind::ConnectRefused,
            detail: "10.3.0.10:443: connection refused".to_owned(),
            region: Some("eu-west-1".to_owned()),
            gave_up: GiveUp::NoRegionLeft,
        };
        let response = error.response("meridian", b"4bf9");
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(
            response.headers()[PROXY_STATUS],
            "meridian;error=connection_refused;next-hop=\"eu-west-1\";details=\"no_region_left\""
        );
        let text = String::from_utf8(response.into_body().to_vec()).unwrap();
        assert!(
            text.contains("request 4bf9") && !text.contains("10.3.0.10"),
            "{text}"
        );
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        let error = ProxyError::from(NoDecision::NoRegion(meridian_core::model::id::RouteId(0)));
        let response = error.response("meridian", b"");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
