//! One try at one endpoint: a connection, the request, the head of the response.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{self, PathAndQuery, Uri};
use http::{Method, Request, Response, Version};
use tokio::time::Instant;

use crate::proxy::response_buffer::BufferedBody;
use crate::proxy::upgrade::{is_asked_for, is_switching};
use crate::upstream::added::AddedFields;
use crate::upstream::answer::AnswerBody;
use crate::upstream::body::{ReplaySource, RequestBody};
use crate::upstream::connect::{DialError, Target};
use crate::upstream::exchange::{ExchangeError, Patience, exchange_http1, exchange_http2};
use crate::upstream::http1::RequestHead;
use crate::upstream::pool::{DialPlan, Lease, Outstanding, Pools, Sender};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::model::id::EndpointId;
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::table::origin::{HostField, Origin, Region, UpstreamHttp};

/// A request's head, ready for any origin but for what differs between them.
#[derive(Debug)]
pub struct OutgoingHead {
    /// The method.
    pub method: Method,
    /// Path and query, as the viewer wrote them.
    pub path: PathAndQuery,
    /// The viewer's fields that are passed on, and `Host`, which is not.
    pub headers: HeaderMap,
    /// What tells the origin of the viewer and of us.
    pub added: AddedFields,
    /// The host the viewer asked for.
    pub host: Option<HeaderValue>,
}

impl OutgoingHead {
    /// What `Host` says to `origin` of `region`.
    fn host_for(&self, region: &Region, origin: &Origin) -> Result<HeaderValue, AttemptError> {
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
    fn http1<'a>(&'a self, host: &'a HeaderValue) -> RequestHead<'a> {
        RequestHead {
            method: &self.method,
            target: self.path.as_str(),
            host,
            headers: &self.headers,
            added: &self.added,
        }
    }

    /// The request as an HTTP/2 connection takes it.
    fn http2(
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

/// Where one attempt goes and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct AttemptTarget<'a> {
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
    /// When it began.
    pub began: Instant,
    /// Then at the earliest, and not much later, somebody looks at the attempt again.
    pub watched_until: Option<Instant>,
}

/// A response's head, and its body as it comes.
#[derive(Debug)]
pub struct OriginResponse {
    /// Which endpoint gave it.
    pub endpoint: EndpointId,
    /// The head; the body streams.
    pub response: Response<AnswerBody>,
    /// Counts the request at the endpoint until it is dropped.
    pub outstanding: Outstanding,
    /// What the attempt took.
    pub phases: Phases,
    /// When as much of it was here as the viewer's answer waits for.
    pub ready: Instant,
    /// Whether the connection had served a request before.
    pub reused: bool,
    /// The body, where it was buffered until it was whole.
    pub buffered: Option<BufferedBody>,
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
    /// The response's body broke off while it was buffered.
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
            Self::Exchange(error) => !matches!(
                error,
                ExchangeError::Reset { reused: true, .. } | ExchangeError::ClosedBeforeSend
            ),
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
    head: &OutgoingHead,
    source: Option<&ReplaySource>,
    to: AttemptTarget<'_>,
) -> Result<Box<OriginResponse>, AttemptError> {
    let outstanding = pools.begin(to.endpoint.id);
    if let Some(source) = source {
        source.restart();
    }
    loop {
        let lease = lease(pools, &to).await?;
        let reused = lease.reused;
        let mut phases = lease.phases;
        // A connection that was there took no time.
        let sent = if lease.waited {
            Instant::now()
        } else {
            to.began
        };
        match write(lease, head, source, &to, sent).await {
            Ok(response) => {
                let ready = Instant::now();
                phases.first_byte = Some(ready - sent);
                return Ok(Box::new(OriginResponse {
                    endpoint: to.endpoint.id,
                    response,
                    outstanding,
                    phases,
                    ready,
                    reused,
                    buffered: None,
                }));
            }
            Err(AttemptError::Exchange(ExchangeError::ClosedBeforeSend))
                if reused && source.is_none_or(ReplaySource::replayable) => {}
            Err(_) if source.is_some_and(ReplaySource::broken) => {
                return Err(AttemptError::ViewerBody);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn lease(pools: &Pools, to: &AttemptTarget<'_>) -> Result<Lease, AttemptError> {
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
    // In a box: most requests find a connection open, and would carry its room along.
    Ok(Box::pin(pools.connect(to.endpoint.id, plan)).await?)
}

async fn write(
    lease: Lease,
    head: &OutgoingHead,
    source: Option<&ReplaySource>,
    to: &AttemptTarget<'_>,
    sent: Instant,
) -> Result<Response<AnswerBody>, AttemptError> {
    let Some(origin) = to.region.origins.get(usize::from(to.endpoint.origin)) else {
        return Err(AttemptError::Dial(DialError::Refused));
    };
    let host = head.host_for(to.region, origin)?;
    let body = source.map_or(RequestBody::Empty, ReplaySource::body);
    let patience = Patience {
        began: sent,
        limit: to.first_byte,
        source,
        watched_until: to.watched_until,
    };
    let response = match lease.sender {
        Sender::Http1(connection) => {
            let head = head.http1(&host);
            exchange_http1(connection, lease.reused, &head, body, patience).await?
        }
        Sender::Http2(sender, stream) => {
            let request = head.http2(&host, origin.tls, body)?;
            Box::pin(exchange_http2(
                sender,
                stream,
                lease.reused,
                request,
                patience,
            ))
            .await?
        }
    };
    if is_switching(&response) && !is_asked_for(&response, &head.headers) {
        return Err(ExchangeError::UnaskedSwitch.into());
    }
    Ok(response)
}
