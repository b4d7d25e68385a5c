//! What a worker reaches origins with: connections, watches over bodies that stand still, memory to
//! send a body again.

use std::cell::RefCell;
use std::time::Duration;

use http::{Response, Version};
use hyper::body::{Body, Incoming};

use crate::proxy::attempt_target::PermittedEndpoint;
use crate::proxy::headers::says_close;
use crate::proxy::origin_body::{ConnectionReturn, OriginBody};
use crate::proxy::origin_response::OriginResponse;
use crate::proxy::outlier_report::BodyReport;
use crate::upstream::body::ReplaySource;
use crate::upstream::pool::Pools;
use crate::upstream::replay_memory::ReplayMemory;
use crate::upstream::stall::Stalls;
use meridian_core::config::LimitsConfig;
use meridian_core::decide::pick_endpoint::pick_endpoint;
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::id::EndpointId;
use meridian_core::table::residency::PermittedRegion;

/// One worker's side towards the origins.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub(super) pools: Pools,
    pub(super) stalls: Stalls,
    memory: ReplayMemory,
    random: RefCell<fastrand::Rng>,
}

impl Upstreams {
    /// Within `limits`, of which memory is shared by `workers`.
    pub(super) fn new(limits: &LimitsConfig, workers: usize) -> Self {
        let total = limits.replay_total_bytes / workers;
        Self {
            pools: Pools::new(limits),
            stalls: Stalls::default(),
            memory: ReplayMemory::new(limits.replay_bytes, total),
            random: RefCell::default(),
        }
    }

    /// From now on keeps these bounds.
    pub(super) fn follow_limits(&self, limits: &LimitsConfig, workers: usize) {
        let total = limits.replay_total_bytes / workers;
        self.pools.follow_limits(limits);
        self.memory.follow_limits(limits.replay_bytes, total);
    }

    /// The endpoint of `region` that an attempt goes to: not the one to `avoid`, if there is another.
    pub(super) fn choose<'a>(
        &self,
        snapshot: &'a Snapshot,
        region: PermittedRegion,
        avoid: Option<EndpointId>,
    ) -> Option<PermittedEndpoint<'a>> {
        let random = |below: usize| self.random.borrow_mut().usize(..below);
        let outstanding = |id| self.pools.outstanding(id);
        PermittedEndpoint::of(region, snapshot, |endpoints| {
            pick_endpoint(endpoints, avoid, outstanding, random)
        })
    }

    /// The body of a viewer's request, if it has one, which may stand still for `limit`.
    pub(super) fn request_body(
        &self,
        incoming: Incoming,
        version: Version,
        limit: Duration,
    ) -> Option<ReplaySource> {
        (!incoming.is_end_stream()).then(|| {
            let stall = self.stalls.watch(limit);
            ReplaySource::new(incoming, version, self.memory.clone(), stall)
        })
    }

    /// An answer of `endpoint` with its body as it streams, which may stand still for `limit`.
    pub(super) fn response_body(
        &self,
        answer: OriginResponse,
        endpoint: EndpointId,
        limit: Duration,
        report: Option<BodyReport>,
    ) -> Response<OriginBody> {
        let response = answer.response;
        let reusable = response.version() == Version::HTTP_11 && !says_close(response.headers());
        let give_back = ConnectionReturn {
            pools: self.pools.clone(),
            endpoint,
            reusable,
        };
        let stall = self.stalls.watch(limit);
        response.map(|body| OriginBody::new(body, give_back, stall, report, answer.outstanding))
    }
}
