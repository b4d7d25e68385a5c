//! What an attempt proves, and who hears of it: evidence at once or once a second, answers on probation at once.

use std::net::IpAddr;

use hyper::body::Body;

use crate::proxy::attempt::OriginResponse;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::{LiveRef, Proxy};
use crate::telemetry::metrics::WorkerMetrics;
use meridian_core::apply::Event;
use meridian_core::decide::failover::GiveUp;
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::outlier::{PairId, Verdict};

/// A failure that may count against an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct FailureReport {
    pub(super) region: RegionId,
    pub(super) endpoint: EndpointId,
    pub(super) kind: ErrorKind,
}

impl Proxy {
    /// A good answer clears an endpoint of the failures before it.
    pub(super) fn well(
        &self,
        outgoing: &OutgoingRequest,
        region: RegionId,
        endpoint: &EndpointState,
        answer: &OriginResponse,
    ) {
        if !self.is_current(&outgoing.live) {
            return;
        }
        let took = answer.phases.first_byte.unwrap_or_default();
        let pair = (outgoing.decision.route, region);
        let whole = answer.buffered.is_some() || answer.response.body().is_end_stream();
        let viewer = outgoing.viewer.address;
        let told = self
            .evidence
            .answered(pair, endpoint.id, viewer, took, whole);
        self.tell(told);
        if outgoing.class.is_write() {
            self.evidence.written(pair, endpoint.id, took);
        }
        // Of one that streams the body's end tells.
        if whole && endpoint.standing.is_on_probation() {
            self.probation_ended(endpoint, took <= self.late_after(outgoing, region));
        }
    }

    /// Whether routes and regions still have the numbers that a request began with.
    fn is_current(&self, live: &LiveRef) -> bool {
        live.snapshot.generation == self.live().snapshot.generation
    }

    /// What became of a request at an endpoint that may have to prove itself.
    pub(super) fn probation_ended_at(&self, endpoint: EndpointId, good: bool) {
        let live = self.live();
        if !live.snapshot.probation.is_empty()
            && let Some((_, endpoint)) = live.snapshot.endpoint(endpoint)
        {
            self.probation_ended(endpoint, good);
        }
    }

    /// What became of a request at an endpoint that has to prove itself.
    pub(super) fn probation_ended(&self, endpoint: &EndpointState, good: bool) {
        if endpoint.standing.is_on_probation() {
            let endpoint = endpoint.id;
            self.count_at(endpoint, |metrics, region| metrics.tried(region, good));
            self.board.tell(Event::ProbationAnswered { endpoint, good });
        }
    }

    /// Counts a failure against an endpoint. It eject only where another region or endpoint did
    /// better with the same request: a path that none serves well speaks against none, and no viewer
    /// can take a region out by asking for it.
    pub(super) fn blame(&self, outgoing: &OutgoingRequest, blame: FailureReport, verdict: Verdict) {
        if !self.is_current(&outgoing.live) {
            return;
        }
        let pair = (outgoing.decision.route, blame.region);
        let told = self.evidence.failed(
            pair,
            blame.endpoint,
            outgoing.viewer.address,
            blame.kind,
            verdict,
        );
        self.tell(told);
    }

    /// Counts failures that no better answer followed: the request must not be repeated, or failed
    /// wherever it went.
    pub(super) fn report_uncompared(
        &self,
        outgoing: &OutgoingRequest,
        reports: &[FailureReport],
        reason: GiveUp,
    ) {
        match (reports, reason) {
            ([blame], GiveUp::NotRetryable | GiveUp::BodyTooLarge) => {
                self.blame(outgoing, *blame, Verdict::Alone);
            }
            (reports, _) => {
                for blame in reports {
                    self.tell(self.evidence.doubted(blame.endpoint));
                }
            }
        }
    }

    /// The body of an answer ended as it should.
    pub(super) fn body_ended(&self, endpoint: EndpointId) {
        self.evidence.whole(endpoint);
        self.probation_ended_at(endpoint, true);
    }

    /// The body of an answer broke off or stood still on its way to the viewer.
    pub(super) fn body_broke(
        &self,
        live: &LiveRef,
        pair: PairId,
        endpoint: EndpointId,
        viewer: IpAddr,
    ) {
        if self.is_current(live) {
            self.tell(self.evidence.body_failed(pair, endpoint, viewer));
        }
        self.probation_ended_at(endpoint, false);
    }

    pub(super) fn tell(&self, event: Option<Event>) {
        if let Some(event) = event {
            if let Event::Suspected { endpoint } = event {
                self.count_at(endpoint, |metrics, region| metrics.suspected(region));
            }
            self.board.tell(event);
        }
    }

    /// Counts something at the region of `endpoint`, while that is known.
    fn count_at(&self, endpoint: EndpointId, count: impl Fn(WorkerMetrics<'_>, RegionId)) {
        let live = self.live();
        if let Some((region, _)) = live.snapshot.endpoint(endpoint) {
            count(live.resources.metrics.shard(self.worker), region);
        }
    }
}
