//! What a worker counts requests with.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::metrics::code_class::CodeClass;
use crate::telemetry::metrics::resume_result::ResumeResult;
use crate::telemetry::metrics::worker_cells::{RegionCells, SeriesCells, WorkerCells};
use meridian_core::decide::Rule;
use meridian_core::model::id::{RegionId, RouteId};
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::model::viewer::ViewerSource;

/// All cells of one worker, dense: the route's slot times the width, plus the region's slot.
#[derive(Debug)]
pub(super) struct WorkerShard {
    pub(super) series: Vec<Arc<SeriesCells>>,
    pub(super) regions: Vec<Arc<RegionCells>>,
    pub(super) worker: Arc<WorkerCells>,
}

/// Counters and histograms of requests, by route and region, one shard per worker.
///
/// Built for one table; cells of a route and region that the table before had too are the same.
#[derive(Debug)]
pub struct RequestMetrics {
    /// Slot of each route; 0 is "none".
    pub(super) route_slots: Vec<u16>,
    /// Slot of each region; 0 is "none".
    pub(super) region_slots: Vec<u16>,
    /// Region slots, "none" included.
    pub(super) width: usize,
    /// One per worker, at least one.
    pub(super) shards: Vec<WorkerShard>,
}

impl RequestMetrics {
    /// The cells of one worker, numbered from 0. Only that worker may count in them; a number
    /// beyond the workers it was built for shares the last one's.
    #[must_use]
    pub fn shard(&self, worker: usize) -> WorkerMetrics<'_> {
        WorkerMetrics {
            metrics: self,
            shard: &self.shards[worker.min(self.shards.len() - 1)],
        }
    }
}

/// Counts for one worker: a few plain loads and stores each, no lock and no allocation.
///
/// Numbers of routes and regions are those of the table the metrics were built for.
#[derive(Clone, Copy, Debug)]
pub struct WorkerMetrics<'a> {
    metrics: &'a RequestMetrics,
    shard: &'a WorkerShard,
}

impl WorkerMetrics<'_> {
    fn series(&self, route: Option<RouteId>, region: Option<RegionId>) -> &SeriesCells {
        let slot = |slots: &[u16], index: Option<usize>| {
            let slot = index.and_then(|index| slots.get(index));
            usize::from(slot.copied().unwrap_or(0))
        };
        let route = slot(&self.metrics.route_slots, route.map(RouteId::index));
        let region = slot(&self.metrics.region_slots, region.map(RegionId::index));
        &self.shard.series[route * self.metrics.width + region]
    }

    fn region(&self, region: RegionId) -> &RegionCells {
        let slot = self.metrics.region_slots.get(region.index()).copied();
        &self.shard.regions[usize::from(slot.unwrap_or(0))]
    }

    /// A request's head was read.
    pub fn request_started(&self, source: ViewerSource) {
        self.shard.worker.in_flight.add(1);
        let place = ViewerSource::ALL.iter().position(|known| *known == source);
        self.shard.worker.viewer_sources[place.unwrap_or(0)].add(1);
    }

    /// A request ended: answered by `region`, refused (`region` none) or left by its viewer.
    /// To be called once for each [`WorkerMetrics::request_started`].
    pub fn request_done(
        &self,
        route: Option<RouteId>,
        region: Option<RegionId>,
        class: CodeClass,
        duration: Duration,
    ) {
        self.shard.worker.in_flight.subtract(1);
        let series = self.series(route, region);
        series.codes[class as usize].add(1);
        series.duration.record(duration);
    }

    /// A decision put `region` first by `rule`.
    pub fn decided(&self, route: RouteId, region: RegionId, rule: Rule) {
        self.series(Some(route), Some(region)).decisions[rule.index()].add(1);
    }

    /// A response head came from `region` after `phases`, over a connection that was open already if
    /// `reused`.
    pub fn answered(
        &self,
        route: Option<RouteId>,
        region: RegionId,
        phases: &Phases,
        reused: bool,
    ) {
        let cells = self.region(region);
        match (reused, phases.connect) {
            (false, Some(connect)) => {
                cells.connections_opened.add(1);
                cells.connect.record(connect);
                if let Some(tls) = phases.tls {
                    cells.tls.record(tls);
                }
            }
            _ => cells.connections_reused.add(1),
        }
        if let (Some(_), Some(first_byte)) = (route, phases.first_byte) {
            let series = self.series(route, Some(region));
            series.first_byte.record(first_byte);
        }
    }

    /// An attempt at `region` failed.
    pub fn attempt_failed(&self, region: RegionId, kind: ErrorKind) {
        self.region(region).failures[kind as usize].add(1);
    }

    /// A request left `from` for another region because of `kind`.
    pub fn failed_over(&self, route: RouteId, from: RegionId, kind: ErrorKind) {
        self.series(Some(route), Some(from)).failovers[kind as usize].add(1);
    }

    /// An attempt after the first goes to `region`.
    pub fn retried(&self, region: RegionId) {
        self.region(region).retries.add(1);
    }

    /// A second attempt, sent to `region` while the first was late, ended; whether it answered
    /// first.
    pub fn hedged(&self, region: RegionId, won: bool) {
        let region = self.region(region);
        let cell = if won {
            &region.hedges_won
        } else {
            &region.hedges_lost
        };
        cell.add(1);
    }

    /// A probation request to `region` was answered, well or not.
    pub fn probation_answered(&self, region: RegionId, good: bool) {
        let region = self.region(region);
        let cell = if good {
            &region.probation_good
        } else {
            &region.probation_bad
        };
        cell.add(1);
    }

    /// A request failed in `region` in a way that calls for a probe at once.
    pub fn suspected(&self, region: RegionId) {
        self.region(region).suspicions.add(1);
    }

    /// So many requests found no room for what is learned from them.
    pub fn outlier_requests_untracked(&self, requests: u64) {
        self.shard.worker.outlier_requests_untracked.add(requests);
    }

    /// `region` was asked for the rest of a body.
    pub fn resumed(&self, region: RegionId, result: ResumeResult) {
        self.region(region).resumes[result as usize].add(1);
    }

    /// A retry to `region` was not made: its budget is spent.
    pub fn retry_budget_exhausted(&self, region: RegionId) {
        self.region(region).budget_exhausted.add(1);
    }

    /// This many viewer header fields of a peer that is not trusted were removed.
    pub fn headers_stripped(&self, fields: u64) {
        self.shard.worker.stripped_headers.add(fields);
    }

    /// A request body outgrew the replay buffer.
    pub fn replay_overflowed(&self) {
        self.shard.worker.replay_overflows.add(1);
    }

    /// Small answers were streamed because there was no room to hold them.
    pub fn response_buffers_denied(&self, count: u64) {
        self.shard.worker.response_buffers_denied.add(count);
    }

    /// Unused connections to origins were closed for newer ones.
    pub fn idle_evicted(&self, count: u64) {
        self.shard.worker.idle_evicted.add(count);
    }

    /// Requests were cut short after their answer.
    pub fn uploads_cut(&self, count: u64) {
        self.shard.worker.uploads_cut.add(count);
    }

    /// Attempts came too late for as many connections as they may.
    pub fn stale_connections_exhausted(&self, count: u64) {
        self.shard.worker.stale_connections_exhausted.add(count);
    }

    /// Body bytes came from a viewer.
    pub fn bytes_in(&self, bytes: u64) {
        self.shard.worker.bytes_in.add(bytes);
    }

    /// Body bytes went to a viewer.
    pub fn bytes_out(&self, bytes: u64) {
        self.shard.worker.bytes_out.add(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_classes_are_their_own_places() {
        for (place, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
        for (place, class) in CodeClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, place);
        }
        for (place, result) in ResumeResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place);
        }
        for (place, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule.index(), place);
        }
    }
}
