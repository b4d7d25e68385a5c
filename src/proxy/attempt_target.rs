//! Where one attempt goes, and how long it may take.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::outgoing_request::OutgoingRequest;
use meridian_core::decide::snapshot::{EndpointState, Snapshot};
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::table::origin::Region;
use meridian_core::table::residency::PermittedRegion;

/// An endpoint of a region that residency permits: every attempt goes to one.
#[derive(Clone, Copy, Debug)]
pub(super) struct PermittedEndpoint<'a> {
    region: PermittedRegion,
    endpoint: &'a EndpointState,
}

impl<'a> PermittedEndpoint<'a> {
    /// The one of `region` that `pick` takes, if it has any.
    pub(super) fn of(
        region: PermittedRegion,
        snapshot: &'a Snapshot,
        pick: impl FnOnce(&'a [EndpointState]) -> Option<&'a EndpointState>,
    ) -> Option<Self> {
        let endpoint = pick(&snapshot.regions[region.id().index()].endpoints)?;
        Some(Self { region, endpoint })
    }
}

/// Where one attempt goes and how long it may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptTarget<'a> {
    at: AttemptedAt,
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

impl<'a> AttemptTarget<'a> {
    /// An attempt of `request` at `to`.
    pub(super) fn new(
        request: &'a OutgoingRequest,
        to: PermittedEndpoint<'a>,
        kind: AttemptKind,
        time: AttemptTime,
    ) -> Self {
        let region = to.region.id();
        let timeouts = &request.route().timeouts;
        Self {
            at: AttemptedAt::new(to, kind),
            region: request.live.snapshot.table.region(region),
            endpoint: to.endpoint,
            tls: request.live.resources.upstream_tls[region.index()].as_ref(),
            pooled: kind != AttemptKind::OnFreshConnection,
            connect: timeouts.connect.min(time.left),
            first_byte: timeouts.first_byte.min(time.left),
            idle: timeouts.idle,
            time,
        }
    }

    /// Where it goes, for those who hear of it.
    pub(super) fn at(&self) -> AttemptedAt {
        self.at
    }
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
    /// How often that had been ejected by then: what becomes of the attempt after the next time says
    /// nothing of what returned.
    pub(super) ejections: u32,
    /// Whether it was sent because another attempt was late.
    pub(super) hedge: bool,
}

impl AttemptedAt {
    pub(super) fn new(to: PermittedEndpoint<'_>, kind: AttemptKind) -> Self {
        let endpoint = to.endpoint;
        Self {
            region: to.region.id(),
            endpoint: endpoint.id,
            address: endpoint.address,
            ejections: endpoint.standing.ejections(),
            hedge: kind == AttemptKind::Hedge,
        }
    }
}
