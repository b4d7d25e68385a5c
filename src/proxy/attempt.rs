//! One try at one endpoint: a connection, the request, the head of the response.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{self, PathAndQuery, Uri};
use http::{Method, Request, Response, Version};
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

use crate::decide::snapshot::EndpointState;
use crate::model::id::EndpointId;
use crate::model::outcome::{ErrorKind, Phases};
use crate::proxy::hold::Held;
use crate::proxy::upgrade::{is_asked_for, is_switching};
use crate::table::origin::{HostField, Origin, Region, UpstreamHttp};
use crate::upstream::body::{ReplaySource, RequestBody};
use crate::upstream::connect::{DialError, Target};
use crate::upstream::exchange::{ExchangeError, Patience, exchange};
use crate::upstream::pool::{DialPlan, Lease, Outstanding, Pools, Sender};

/// A request's head, ready for any origin but for what differs between them.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// Path and query, as the viewer wrote them.
    pub path: PathAndQuery,
    /// All fields but `Host`.
    pub headers: HeaderMap,
    /// The host the viewer asked for.
    pub host: Option<HeaderValue>,
}

impl Head {
    /// The request for `origin` of `region`, framed for the connection's HTTP version.
    fn request(
        &self,
        region: &Region,
        origin: &Origin,
        http2: bool,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, AttemptError> {
        let host = match &region.upstream.host {
            HostField::Viewer => self.host.clone(),
            HostField::Origin => None,
            HostField::Fixed(host) => HeaderValue::try_from(host.as_str()).ok(),
        };
        let host = match host {
            Some(host) => host,
            None => HeaderValue::try_from(origin.authority()).map_err(AttemptError::unsendable)?,
        };
        let mut request = Request::new(body);
        request.method_mut().clone_from(&self.method);
        request.headers_mut().clone_from(&self.headers);
        if http2 {
            let mut parts = uri::Parts::default();
            let scheme = if origin.tls {
                uri::Scheme::HTTPS
            } else {
                uri::Scheme::HTTP
            };
            parts.scheme = Some(scheme);
            parts.authority = Some(
                host.as_bytes()
                    .try_into()
                    .map_err(AttemptError::unsendable)?,
            );
            parts.path_and_query = Some(self.path.clone());
            *request.uri_mut() = Uri::from_parts(parts).map_err(AttemptError::unsendable)?;
            *request.version_mut() = Version::HTTP_2;
        } else {
            *request.uri_mut() = Uri::from(self.path.clone());
            let unsized_body =
                !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
            let headers = request.headers_mut();
            headers.insert(header::HOST, host);
            join_cookies(headers);
            if unsized_body {
                // hyper takes a GET of no known length for one without a body, and drops it.
                headers.insert(
                    header::TRANSFER_ENCODING,
                    HeaderValue::from_static("chunked"),
                );
            }
        }
        Ok(request)
    }
}

/// One `Cookie` field of the many that HTTP/2 allows (RFC 9113 section 8.2.3): HTTP/1.1 servers read
/// the first only.
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    if let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) {
        let mut whole = first.as_bytes().to_vec();
        for crumb in std::iter::once(second).chain(crumbs) {
            whole.extend_from_slice(b"; ");
            whole.extend_from_slice(crumb.as_bytes());
        }
        if let Ok(whole) = HeaderValue::from_bytes(&whole) {
            headers.insert(header::COOKIE, whole);
        }
    }
}

/// Where one attempt goes and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Try<'a> {
    /// The region.
    pub region: &'a Region,
    /// The endpoint in it.
    pub endpoint: &'a EndpointState,
    /// TLS towards the region.
    pub tls: Option<&'a Arc<rustls::ClientConfig>>,
    /// Whether a pooled connection may be used.
    pub pooled: bool,
    /// For TCP and TLS, each.
    pub connect: Duration,
    /// From the request's last byte to the response's head.
    pub first_byte: Duration,
    /// How long a pooled connection may have been unused.
    pub idle: Duration,
}

/// A response's head, and the connection its body comes over.
#[derive(Debug)]
pub struct Answer {
    /// Which endpoint gave it.
    pub endpoint: EndpointId,
    /// The head; the body streams.
    pub response: Response<Incoming>,
    /// The connection.
    pub sender: Sender,
    /// Counts the request at the endpoint until it is dropped.
    pub outstanding: Outstanding,
    /// What the attempt took.
    pub phases: Phases,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// The body, where it was held back until it was whole.
    pub held: Option<Held>,
}

/// Why an attempt has no response head.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A connection, but no head.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The viewer's body broke off under it.
    #[error("the viewer's body broke off")]
    ViewerBody,
    /// The response's body broke off while it was held back.
    #[error("the response's body broke off: {0}")]
    BodyBroken(String),
    /// The region has no address.
    #[error("the region has no address to dial")]
    NoEndpoint,
    /// The request cannot be framed for this origin.
    #[error("the request cannot be written for this origin: {0}")]
    Unsendable(String),
}

impl AttemptError {
    fn unsendable(error: impl std::fmt::Display) -> Self {
        Self::Unsendable(error.to_string())
    }

    /// The error's kind for metrics and the retry rule.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Dial(error) => error.kind(),
            Self::Exchange(error) => error.kind(),
            Self::BodyBroken(_) => ErrorKind::BodyBroken,
            Self::NoEndpoint => ErrorKind::NoEndpoint,
            Self::ViewerBody | Self::Unsendable(_) => ErrorKind::ViewerBody,
        }
    }

    /// Whether it speaks against the endpoint: a connection that aged in the pool does not.
    #[must_use]
    pub fn blames_the_origin(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_our_own(),
            Self::Exchange(error) => !matches!(error, ExchangeError::Reset { reused: true, .. }),
            Self::BodyBroken(_) => true,
            Self::NoEndpoint | Self::ViewerBody | Self::Unsendable(_) => false,
        }
    }
}

/// Sends the request to the endpoint and waits for the response's head.
///
/// A pooled connection that turns out closed before anything was written to it says nothing about
/// the endpoint; the same attempt goes on with the next one, and then with a fresh one.
pub async fn send(
    pools: &Pools,
    head: &Head,
    source: Option<&ReplaySource>,
    to: Try<'_>,
) -> Result<Answer, AttemptError> {
    let outstanding = pools.begin(to.endpoint.id);
    if let Some(source) = source {
        source.restart();
    }
    loop {
        let mut lease = lease(pools, &to).await?;
        let reused = lease.reused;
        let mut phases = lease.phases;
        let sent_at = Instant::now();
        match write(&mut lease, head, source, &to).await {
            Ok(response) => {
                phases.first_byte = Some(sent_at.elapsed());
                let sender = lease.sender;
                return Ok(Answer {
                    endpoint: to.endpoint.id,
                    response,
                    sender,
                    outstanding,
                    phases,
                    reused,
                    held: None,
                });
            }
            Err(AttemptError::Exchange(ExchangeError::ClosedBeforeSend)) if reused => {}
            Err(_) if source.is_some_and(ReplaySource::broken) => {
                return Err(AttemptError::ViewerBody);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn lease(pools: &Pools, to: &Try<'_>) -> Result<Lease, AttemptError> {
    if to.pooled
        && let Some(lease) = pools.take_open(to.endpoint.id, to.idle)
    {
        return Ok(lease);
    }
    let target = Target::of(to.region, to.endpoint, to.tls)?;
    let plan = DialPlan {
        target: &target,
        prior_knowledge: target.tls.is_none() && to.region.upstream.http == UpstreamHttp::Http2,
        connect: to.connect,
        idle: to.idle,
        fresh: !to.pooled,
    };
    Ok(pools.connect(to.endpoint.id, plan).await?)
}

async fn write(
    lease: &mut Lease,
    head: &Head,
    source: Option<&ReplaySource>,
    to: &Try<'_>,
) -> Result<Response<Incoming>, AttemptError> {
    let Some(origin) = to.region.origins.get(usize::from(to.endpoint.origin)) else {
        return Err(AttemptError::Dial(DialError::Refused));
    };
    let http2 = matches!(lease.sender, Sender::Http2(..));
    let body = source.map_or(RequestBody::Empty, ReplaySource::body);
    let request = head.request(to.region, origin, http2, body)?;
    let response = exchange(
        lease,
        request,
        Patience {
            limit: to.first_byte,
            source,
        },
    )
    .await?;
    if is_switching(&response) && !is_asked_for(&response, &head.headers) {
        return Err(ExchangeError::UnaskedSwitch.into());
    }
    Ok(response)
}
