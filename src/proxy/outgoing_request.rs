//! A request on its way out: what every attempt at it needs.

use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::live_view::LiveRef;
use crate::proxy::outgoing_head::OutgoingHead;
use crate::upstream::body::{Progress, ReplaySource};
use meridian_core::decide::Decision;
use meridian_core::decide::draw_key::DrawKey;
use meridian_core::decide::failover::RetryFacts;
use meridian_core::decide::request::RequestClass;
use meridian_core::health::breadth::Breadth;
use meridian_core::health::rise_fall::Health;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::Viewer;
use meridian_core::table::route::Route;

/// A request ready to be sent, as often as the retry table allows.
#[derive(Clone, Debug)]
pub(super) struct OutgoingRequest {
    /// Table and beliefs, the same to the end.
    pub(super) live: LiveRef,
    /// Where it may go.
    pub(super) decision: Decision,
    /// What sending it twice would mean.
    pub(super) class: RequestClass,
    /// What its part of shares and weights is drawn by.
    pub(super) draw: DrawKey,
    /// Its head.
    pub(super) head: OutgoingHead,
    /// Its body, if it has one.
    pub(super) source: Option<ReplaySource>,
    /// Who asks.
    pub(super) viewer: Viewer,
    /// When it came.
    pub(super) started: Instant,
}

impl OutgoingRequest {
    pub(super) fn route(&self) -> &Route {
        self.live.snapshot.table.route(self.decision.route())
    }

    /// Who asks and for what, as outlier detection tells one from many.
    pub(super) fn mark(&self) -> Breadth {
        Breadth::of(self.viewer.address, self.head.path.path())
    }

    /// Whether `region` is permitted and has an endpoint that is well, beside the one at hand.
    pub(super) fn has_another_endpoint(&self, region: RegionId, at_hand: EndpointId) -> bool {
        let permitted = self.decision.permitted().get(region).is_some();
        let mut endpoints = self.live.snapshot.regions[region.index()].endpoints.iter();
        permitted && endpoints.any(|one| one.id != at_hand && one.health != Health::Unhealthy)
    }

    /// What matters for another attempt, with so much time left.
    pub(super) fn retry_facts(
        &self,
        deadline_left: Duration,
        other_endpoint: bool,
    ) -> RetryFacts<'_> {
        RetryFacts {
            class: self.class,
            retry: &self.route().retry,
            deadline_left,
            replayable: self.source.as_ref().is_none_or(ReplaySource::replayable),
            other_endpoint,
        }
    }

    /// Until `timeouts.request` is over, for a request that came at `started`. The time a viewer
    /// takes to upload is its own.
    pub(super) fn time_left(&self, started: Timestamp, now: Timestamp) -> Duration {
        let since = match self.source.as_ref().map(ReplaySource::progress) {
            Some(Progress::AwaitingViewer) => now,
            Some(Progress::TakenAt(taken)) => now - taken.elapsed(),
            None => started,
        };
        let limit = self.route().timeouts.request;
        limit.saturating_sub(now.since(since.max(started)))
    }

    /// Whether the viewer's upload broke off.
    pub(super) fn upload_broke(&self) -> bool {
        self.source.as_ref().is_some_and(ReplaySource::broken)
    }
}
