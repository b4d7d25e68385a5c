//! The head of a request on its way to an origin.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{self, PathAndQuery, Uri};
use http::{Method, Request, Version};

use crate::proxy::attempt_error::AttemptError;
use crate::upstream::added_headers::AddedFields;
use crate::upstream::body::RequestBody;
use crate::upstream::http1::RequestHead;
use meridian_core::table::origin::{HostField, Origin, Region};

/// A request's head, ready for any origin but for what differs between them.
#[derive(Clone, Debug)]
pub(super) struct OutgoingHead {
    /// The method.
    pub(super) method: Method,
    /// Path and query, as the viewer wrote them.
    pub(super) path: PathAndQuery,
    /// The viewer's fields that are passed on, and `Host`, which is not.
    pub(super) headers: HeaderMap,
    /// What tells the origin of the viewer and of us.
    pub(super) added: AddedFields,
    /// The host the viewer asked for.
    pub(super) host: Option<HeaderValue>,
}

impl OutgoingHead {
    /// What `Host` says to `origin` of `region`.
    pub(super) fn host_for(
        &self,
        region: &Region,
        origin: &Origin,
    ) -> Result<HeaderValue, AttemptError> {
        let host = match &region.upstream.host {
            HostField::Viewer => self.host.clone(),
            HostField::Origin => None,
            HostField::Fixed(host) => HeaderValue::try_from(host.as_str()).ok(),
        };
        match host {
            Some(host) => Ok(host),
            None => HeaderValue::try_from(origin.authority()).map_err(AttemptError::unsendable),
        }
    }

    /// The head as an HTTP/1.1 connection takes it.
    pub(super) fn http1<'a>(&'a self, host: &'a HeaderValue) -> RequestHead<'a> {
        RequestHead {
            method: &self.method,
            target: self.path.as_str(),
            host,
            headers: &self.headers,
            added: &self.added,
        }
    }

    /// The request as an HTTP/2 connection takes it.
    pub(super) fn http2(
        &self,
        host: &HeaderValue,
        tls: bool,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, AttemptError> {
        let mut parts = uri::Parts::default();
        let scheme = if tls {
            uri::Scheme::HTTPS
        } else {
            uri::Scheme::HTTP
        };
        parts.scheme = Some(scheme);
        let authority = host.as_bytes().try_into();
        parts.authority = Some(authority.map_err(AttemptError::unsendable)?);
        parts.path_and_query = Some(self.path.clone());
        let mut request = Request::new(body);
        request.method_mut().clone_from(&self.method);
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.remove(header::HOST);
        self.added.append_to(headers);
        *request.uri_mut() = Uri::from_parts(parts).map_err(AttemptError::unsendable)?;
        *request.version_mut() = Version::HTTP_2;
        Ok(request)
    }
}
