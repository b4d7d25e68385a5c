//! Where one attempt goes, and how long it may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use meridian_core::decide::snapshot::EndpointState;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::table::origin::Region;

/// Where one attempt goes and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptTarget<'a> {
    /// Where it goes, for those who hear of it.
    pub(super) at: AttemptedAt,
    /// The region.
    pub(super) region: &'a Region,
    /// The endpoint in it.
    pub(super) endpoint: &'a EndpointState,
    /// TLS towards the region.
    pub(super) tls: Option<&'a Arc<rustls::ClientConfig>>,
    /// Whether a pooled connection may be used.
    pub(super) pooled: bool,
    /// For TCP and TLS, each.
    pub(super) connect: Duration,
    /// From the request's last byte to the response's head.
    pub(super) first_byte: Duration,
    /// How long a pooled connection may have been unused.
    pub(super) idle: Duration,
    /// How long it may take.
    pub(super) time: AttemptTime,
}

/// When an attempt began, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptTime {
    /// When it began.
    pub(super) began: Instant,
    /// How long it may take at most.
    pub(super) left: Duration,
    /// Then at the earliest, and not much later, somebody looks at the attempt again.
    pub(super) watched_until: Option<Instant>,
}

/// What an attempt is, beside others of the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptKind {
    /// One after the other.
    InTurn,
    /// The same, and not over a pooled connection: one of those broke just now.
    OnFreshConnection,
    /// Sent because another attempt is late.
    Hedge,
}

/// Where an attempt went.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptedAt {
    /// The region.
    pub(super) region: RegionId,
    /// The endpoint in it.
    pub(super) endpoint: EndpointId,
    /// The address dialled.
    pub(super) address: SocketAddr,
    /// Whether the endpoint has to prove itself.
    pub(super) on_probation: bool,
    /// Whether it was sent because another attempt was late.
    pub(super) hedge: bool,
}

impl AttemptedAt {
    pub(super) fn new(region: RegionId, endpoint: &EndpointState, kind: AttemptKind) -> Self {
        Self {
            region,
            endpoint: endpoint.id,
            address: endpoint.address,
            on_probation: endpoint.standing.is_on_probation(),
            hedge: kind == AttemptKind::Hedge,
        }
    }
}
