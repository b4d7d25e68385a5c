//! The cells that a worker counts in, and what the page shows of them.

use crate::telemetry::histogram::{WorkerCell, WorkerHistogram};
use crate::telemetry::metrics::code_class::CodeClass;
use crate::telemetry::metrics::exposition::Exposition;
use crate::telemetry::metrics::families;
use crate::telemetry::metrics::family::MetricFamily;
use crate::telemetry::metrics::resume_result::ResumeResult;
use meridian_core::decide::Rule;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::viewer::ViewerSource;

/// One worker's counts of one route in one region.
#[derive(Debug, Default)]
pub(super) struct SeriesCells {
    pub(super) codes: [WorkerCell; CodeClass::ALL.len()],
    pub(super) duration: WorkerHistogram,
    pub(super) first_byte: WorkerHistogram,
    pub(super) failovers: [WorkerCell; ErrorKind::ALL.len()],
    pub(super) decisions: [WorkerCell; Rule::ALL.len()],
}

impl SeriesCells {
    /// Adds what was counted. What never was is left out: routes times regions times reasons is a
    /// large page.
    pub(super) fn collect(&self, route: &str, region: &str, page: &mut Exposition) {
        let mut some = |family: &MetricFamily, label: &str, cell: &WorkerCell| {
            let count = cell.value();
            if count > 0 {
                page.add(family, &[route, region, label], count);
            }
        };
        for (class, cell) in CodeClass::ALL.iter().zip(&self.codes) {
            some(&families::REQUESTS, class.label(), cell);
        }
        for (rule, cell) in Rule::ALL.iter().zip(&self.decisions) {
            some(&families::DECISIONS, rule.label(), cell);
        }
        for (kind, cell) in ErrorKind::ALL.iter().zip(&self.failovers) {
            some(&families::FAILOVERS, kind.label(), cell);
        }
        let labels = [route, region];
        page.durations(
            &families::REQUEST_DURATION,
            &labels,
            &self.duration.totals(),
        );
        page.durations(
            &families::UPSTREAM_FIRST_BYTE,
            &labels,
            &self.first_byte.totals(),
        );
    }
}

/// One worker's counts of one region.
#[derive(Debug, Default)]
pub(super) struct RegionCells {
    pub(super) failures: [WorkerCell; ErrorKind::ALL.len()],
    pub(super) retries: WorkerCell,
    pub(super) hedges_won: WorkerCell,
    pub(super) hedges_lost: WorkerCell,
    pub(super) resumes: [WorkerCell; ResumeResult::ALL.len()],
    pub(super) budget_exhausted: WorkerCell,
    pub(super) probation_good: WorkerCell,
    pub(super) probation_bad: WorkerCell,
    pub(super) suspicions: WorkerCell,
    pub(super) connections_opened: WorkerCell,
    pub(super) connections_reused: WorkerCell,
    pub(super) connect: WorkerHistogram,
    pub(super) tls: WorkerHistogram,
}

impl RegionCells {
    /// Adds what was counted. All but the kinds of failures is shown from the start, at zero: an
    /// alert needs the series before the first event.
    pub(super) fn collect(&self, region: &str, page: &mut Exposition) {
        for (kind, cell) in ErrorKind::ALL.iter().zip(&self.failures) {
            let count = cell.value();
            if count > 0 {
                page.add(&families::ATTEMPT_FAILURES, &[region, kind.label()], count);
            }
        }
        let mut by_result = |family: &MetricFamily, result: &str, cell: &WorkerCell| {
            page.add(family, &[region, result], cell.value());
        };
        by_result(&families::HEDGES, "won", &self.hedges_won);
        by_result(&families::HEDGES, "lost", &self.hedges_lost);
        by_result(&families::PROBATION_REQUESTS, "good", &self.probation_good);
        by_result(&families::PROBATION_REQUESTS, "bad", &self.probation_bad);
        for (result, cell) in ResumeResult::ALL.iter().zip(&self.resumes) {
            by_result(&families::RESUMES, result.label(), cell);
        }
        let mut plain = |family: &MetricFamily, cell: &WorkerCell| {
            page.add(family, &[region], cell.value());
        };
        plain(&families::RETRIES, &self.retries);
        plain(&families::RETRY_BUDGET_EXHAUSTED, &self.budget_exhausted);
        plain(&families::SUSPICIONS, &self.suspicions);
        plain(
            &families::UPSTREAM_CONNECTIONS_OPENED,
            &self.connections_opened,
        );
        plain(
            &families::UPSTREAM_CONNECTIONS_REUSED,
            &self.connections_reused,
        );
        for (phase, took) in [("connect", &self.connect), ("tls", &self.tls)] {
            page.durations(
                &families::UPSTREAM_DURATION,
                &[region, phase],
                &took.totals(),
            );
        }
    }
}

/// One worker's counts of everything else.
#[derive(Debug, Default)]
pub(super) struct WorkerCells {
    pub(super) in_flight: WorkerCell,
    pub(super) viewer_sources: [WorkerCell; ViewerSource::ALL.len()],
    pub(super) stripped_headers: WorkerCell,
    pub(super) replay_overflows: WorkerCell,
    pub(super) response_buffers_denied: WorkerCell,
    pub(super) idle_evicted: WorkerCell,
    pub(super) uploads_cut: WorkerCell,
    pub(super) stale_connections_exhausted: WorkerCell,
    pub(super) outlier_requests_untracked: WorkerCell,
    pub(super) bytes_in: WorkerCell,
    pub(super) bytes_out: WorkerCell,
}

impl WorkerCells {
    /// Adds what was counted.
    pub(super) fn collect(&self, page: &mut Exposition) {
        for (source, cell) in ViewerSource::ALL.iter().zip(&self.viewer_sources) {
            page.add(&families::VIEWER_SOURCES, &[source.label()], cell.value());
        }
        for (family, cell) in [
            (&families::REQUESTS_IN_FLIGHT, &self.in_flight),
            (&families::STRIPPED_HEADERS, &self.stripped_headers),
            (&families::REPLAY_OVERFLOWS, &self.replay_overflows),
            (
                &families::RESPONSE_BUFFERS_DENIED,
                &self.response_buffers_denied,
            ),
            (&families::IDLE_EVICTED, &self.idle_evicted),
            (&families::UPLOADS_CUT, &self.uploads_cut),
            (
                &families::STALE_CONNECTIONS_EXHAUSTED,
                &self.stale_connections_exhausted,
            ),
            (
                &families::OUTLIER_REQUESTS_UNTRACKED,
                &self.outlier_requests_untracked,
            ),
            (&families::BYTES_IN, &self.bytes_in),
            (&families::BYTES_OUT, &self.bytes_out),
        ] {
            page.add(family, &[], cell.value());
        }
    }
}
