//! A request on its way out: what every attempt at it needs, and what one is charged.

use std::borrow::Borrow;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::attempt::{AttemptTarget, OriginResponse, OutgoingHead};
use crate::proxy::range_resume::request::ResumeRequest;
use crate::proxy::{LiveRef, Proxy};
use crate::upstream::body::ReplaySource;
use meridian_core::decide::Decision;
use meridian_core::decide::failover::{Attempts, RequestClass, RetryFacts};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::model::id::RegionId;
use meridian_core::model::viewer::Viewer;
use meridian_core::table::route::Route;

/// A request ready to be sent, as often as the retry table allows.
#[derive(Debug)]
pub(super) struct OutgoingRequest {
    /// Table and beliefs, the same to the end.
    pub(super) live: LiveRef,
    /// Where it may go.
    pub(super) decision: Decision,
    /// What sending it twice would mean.
    pub(super) class: RequestClass,
    /// Its head.
    pub(super) head: OutgoingHead,
    /// Its body, if it has one.
    pub(super) source: Option<ReplaySource>,
    /// Who asks.
    pub(super) viewer: Viewer,
    /// When it came.
    pub(super) started: Instant,
    /// Whether it may try what has to prove itself.
    pub(super) probation: bool,
}

impl OutgoingRequest {
    pub(super) fn route(&self) -> &Route {
        self.live.snapshot.table.route(self.decision.route)
    }

    /// An attempt at `endpoint`, which may take `left` at most; over a `fresh` connection if need be.
    pub(super) fn to<'a>(
        &'a self,
        region: RegionId,
        endpoint: &'a EndpointState,
        fresh: bool,
        began: Instant,
        left: Duration,
    ) -> AttemptTarget<'a> {
        let timeouts = &self.route().timeouts;
        AttemptTarget {
            region: self.live.snapshot.table.region(region),
            endpoint,
            tls: self.live.resources.upstream_tls[region.index()].as_ref(),
            pooled: !fresh,
            connect: timeouts.connect.min(left),
            first_byte: timeouts.first_byte.min(left),
            idle: timeouts.idle,
            began,
            watched_until: None,
        }
    }
}

/// The region's answer that the viewer gets.
#[derive(Debug)]
pub(super) struct ChosenResponse {
    /// Which region.
    pub(super) region: RegionId,
    /// The head, and where the body comes from.
    pub(super) answer: Box<OriginResponse>,
    /// The attempts that failed before it.
    pub(super) attempts: Attempts,
    /// Where another attempt went that it overtook. It counts, but did not fail.
    pub(super) overtaken: Option<RegionId>,
    /// What is needed to go on with its body from elsewhere, where that is possible.
    pub(super) rest: Option<Box<ResumeRequest>>,
}

/// A retry that was charged to a region's budget, given back also when the viewer leaves.
pub(super) struct RetryCharge<P: Borrow<Proxy>> {
    /// Whose budget it is.
    pub(super) proxy: P,
    /// Where the retry goes.
    pub(super) region: RegionId,
}

impl<P: Borrow<Proxy>> Drop for RetryCharge<P> {
    fn drop(&mut self) {
        let proxy: &Proxy = self.proxy.borrow();
        proxy.budget.borrow_mut().release(self.region);
    }
}

pub(super) fn facts(
    outgoing: &OutgoingRequest,
    deadline_left: Duration,
    other_endpoint: bool,
) -> RetryFacts<'_> {
    RetryFacts {
        class: outgoing.class,
        retry: &outgoing.route().retry,
        deadline_left,
        replayable: outgoing
            .source
            .as_ref()
            .is_none_or(ReplaySource::replayable),
        other_endpoint,
    }
}
