//! Every metric name, in one file.
//!
//! Two sides feed one page. The data plane counts in cells that one worker owns
//! ([`shard::RequestMetrics`]); the control plane counts rarely, under a lock
//! ([`registry::MetricsRegistry::count`]), or hands over its state at a scrape
//! ([`registry::Scrape`]). The `metrics` facade is not used: its recorder is a global, its
//! handles cost an atomic read-modify-write where a cell costs a plain store, its exporter keeps
//! raw samples of histograms, and two renderers would have to share one page.

pub mod exposition;
mod labels;
pub mod registry;
pub mod shard;

pub use crate::telemetry::metrics::registry::{MetricsRegistry, Scrape};
pub use crate::telemetry::metrics::shard::{
    CodeClass, RequestMetrics, ResumeResult, WorkerMetrics,
};

/// How a family's values move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from zero.
    Counter,
    /// Either way.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl Kind {
    /// The word in the `# TYPE` line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric: its name, what it means and which labels its series carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The whole name, with prefix and unit.
    pub name: &'static str,
    /// How its values move.
    pub kind: Kind,
    /// Label names, in the order their values are given.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        labels,
        help,
    }
}

/// Requests answered, by class of the status; none: the viewer left or the connection broke first.
pub const REQUESTS: Family = counter(
    "meridian_requests_total",
    &["route", "region", "code_class"],
    "Requests answered, by class of the status; none: the viewer left or the connection broke first.",
);
/// From a request's head to the last byte of its response.
pub const REQUEST_DURATION: Family = histogram(
    "meridian_request_duration_seconds",
    &["route", "region"],
    "From a request's head to the last byte of its response.",
);
/// From sending a request to an origin to its response head.
pub const UPSTREAM_FIRST_BYTE: Family = histogram(
    "meridian_upstream_first_byte_seconds",
    &["route", "region"],
    "From sending a request to an origin to its response head.",
);
/// What opening a connection to an origin took, by phase.
pub const UPSTREAM_DURATION: Family = histogram(
    "meridian_upstream_duration_seconds",
    &["region", "phase"],
    "What opening a connection to an origin took, by phase.",
);
/// Requests being served now.
pub const REQUESTS_IN_FLIGHT: Family = gauge(
    "meridian_requests_in_flight",
    &[],
    "Requests being served now.",
);
/// Decisions, by the region put first and the rule that put it there.
pub const DECISIONS: Family = counter(
    "meridian_routing_decisions_total",
    &["route", "region", "reason"],
    "Decisions, by the region put first and the rule that put it there.",
);
/// Requests that left a region for another, by the region left and why.
pub const FAILOVERS: Family = counter(
    "meridian_failovers_total",
    &["route", "from", "reason"],
    "Requests that left a region for another, by the region left and why.",
);
/// Attempts at a region that failed, by how.
pub const ATTEMPT_FAILURES: Family = counter(
    "meridian_upstream_attempt_failures_total",
    &["region", "reason"],
    "Attempts at a region that failed, by how.",
);
/// Attempts after the first, by the region they went to.
pub const RETRIES: Family = counter(
    "meridian_retries_total",
    &["region"],
    "Attempts after the first, by the region they went to.",
);
/// Second attempts sent while the first was late, by the region they went to and whether they
/// answered first.
pub const HEDGES: Family = counter(
    "meridian_hedges_total",
    &["region", "result"],
    "Second attempts sent while the first was late, by the region they went to and whether they answered first (won, lost).",
);
/// Requests for the rest of a body that broke off or stood still, by the region they went to.
pub const RESUMES: Family = counter(
    "meridian_resumes_total",
    &["region", "result"],
    "Requests for the rest of a body that broke off or stood still elsewhere, by the region they went to and what came of them: its answer went on with the body (resumed), was not the same bytes (unfit), there was none (failed), or the body went on by itself first (overtaken).",
);
/// Retries not made because the region's budget was spent.
pub const RETRY_BUDGET_EXHAUSTED: Family = counter(
    "meridian_retry_budget_exhausted_total",
    &["region"],
    "Retries not made because the region's budget was spent.",
);
/// Connections opened to origins for requests.
pub const UPSTREAM_CONNECTIONS_OPENED: Family = counter(
    "meridian_upstream_connections_opened_total",
    &["region"],
    "Connections opened to origins for requests.",
);
/// Requests sent over a connection that was already open.
pub const UPSTREAM_CONNECTIONS_REUSED: Family = counter(
    "meridian_upstream_connection_reuse_total",
    &["region"],
    "Requests sent over a connection that was already open.",
);
/// Requests by where the viewer's country was learned.
pub const VIEWER_SOURCES: Family = counter(
    "meridian_geo_lookups_total",
    &["source"],
    "Requests by where the viewer's country was learned.",
);
/// Viewer header fields removed because the peer is not trusted.
pub const STRIPPED_HEADERS: Family = counter(
    "meridian_viewer_headers_stripped_total",
    &[],
    "Viewer header fields removed because the peer is not trusted.",
);
/// Request bodies too large to be kept for another attempt.
pub const REPLAY_OVERFLOWS: Family = counter(
    "meridian_replay_buffer_overflows_total",
    &[],
    "Request bodies too large to be kept for another attempt.",
);
/// Small answers that were streamed because there was no room to hold them.
pub const HOLDS_DENIED: Family = counter(
    "meridian_holds_denied_total",
    &[],
    "Small answers that were streamed because there was no room to hold them until they are whole.",
);
/// Unused connections closed for newer ones.
pub const IDLE_EVICTED: Family = counter(
    "meridian_idle_connections_evicted_total",
    &[],
    "Unused connections to origins closed because limits.idle_connections_per_endpoint newer ones were kept.",
);
/// Requests cut short after their answer, because too many others were still being written.
pub const UPLOADS_CUT: Family = counter(
    "meridian_uploads_cut_total",
    &[],
    "Requests whose answer was done before they were written whole, and of which too many were still being written.",
);
/// Body bytes received from viewers.
pub const BYTES_IN: Family = counter(
    "meridian_request_body_bytes_total",
    &[],
    "Body bytes received from viewers.",
);
/// Body bytes sent to viewers.
pub const BYTES_OUT: Family = counter(
    "meridian_response_body_bytes_total",
    &[],
    "Body bytes sent to viewers.",
);
/// Viewers' connections open now.
pub const CONNECTIONS_ACTIVE: Family = gauge(
    "meridian_connections_active",
    &[],
    "Viewers' connections open now.",
);
/// Viewers' connections accepted.
pub const CONNECTIONS: Family = counter(
    "meridian_connections_total",
    &[],
    "Viewers' connections accepted.",
);
/// Viewers' connections ended, by how.
pub const CONNECTION_ENDS: Family = counter(
    "meridian_connection_ends_total",
    &["end"],
    "Viewers' connections ended, by how.",
);
/// PROXY headers that could not be read, by why.
pub const PROXY_HEADER_FAILURES: Family = counter(
    "meridian_proxy_header_failures_total",
    &["reason"],
    "PROXY headers of trusted peers that could not be read, by why.",
);
/// Faults of our own that ended a connection.
pub const PANICS: Family = counter(
    "meridian_panics_total",
    &[],
    "Faults in this program that ended one viewer's connection.",
);
/// Connections and requests refused by a limit, by limit.
pub const SHED: Family = counter(
    "meridian_requests_shed_total",
    &["reason"],
    "Connections and requests refused by a limit, by limit.",
);
/// Viewers' TLS handshakes, by result.
pub const TLS_HANDSHAKES: Family = counter(
    "meridian_tls_handshakes_total",
    &["result"],
    "Viewers' TLS handshakes, by result.",
);
/// When a served certificate ends, in seconds since 1970.
pub const CERTIFICATE_EXPIRY: Family = gauge(
    "meridian_tls_certificate_expiry_timestamp_seconds",
    &["name"],
    "When a served certificate ends, in seconds since 1970.",
);
/// Part of the viewers that a region may get: less than 1 while it is down or returns.
pub const REGION_SHARE: Family = gauge(
    "meridian_region_share_ratio",
    &["region"],
    "Part of the viewers that a region may get, 0 to 1: less than 1 while it is down or returns.",
);
/// 1 for the stage that the failback of a region is at, 0 for the others.
pub const REGION_STAGE: Family = gauge(
    "meridian_region_stage",
    &["region", "stage"],
    "1 for the stage that the failback of a region is at (full, down, on_probation, hold_down, ramping, awaiting_confirm), 0 for the others.",
);
/// 1 while the region can serve, 0 while it cannot.
pub const REGION_UP: Family = gauge(
    "meridian_region_up",
    &["region"],
    "1 while the region can serve, 0 while it cannot.",
);
/// The estimate that ranks the region; absent while unknown.
pub const REGION_LATENCY: Family = gauge(
    "meridian_region_latency_seconds",
    &["region"],
    "The estimate that ranks the region; absent while unknown.",
);
/// Addresses of the region, by health.
pub const REGION_ENDPOINTS: Family = gauge(
    "meridian_region_endpoints",
    &["region", "health"],
    "Addresses of the region, by health.",
);
/// 1 while the operator keeps the region out.
pub const REGION_DRAINED: Family = gauge(
    "meridian_region_drained",
    &["region"],
    "1 while the operator keeps the region out.",
);
/// Probes that ended, by result.
pub const PROBE_RESULTS: Family = counter(
    "meridian_probe_results_total",
    &["region", "result"],
    "Probes that ended, by result.",
);
/// What probes took, by phase.
pub const PROBE_DURATION: Family = histogram(
    "meridian_probe_duration_seconds",
    &["region", "phase"],
    "What probes took, by phase.",
);
/// Changes of belief, by what changed and what kind of evidence led to it.
pub const TRANSITIONS: Family = counter(
    "meridian_transitions_total",
    &["kind", "cause"],
    "Changes of belief, by what changed (endpoint, region, ejection_suppressed, correlated_failure, leader, failback, addresses, operator) and the evidence (probe, requests_failed, requests_late, requests_compared, probation, time, operator, dns, reload, restart).",
);
/// Regions that failed their probes and kept their traffic because of the limit on ejections.
pub const EJECTIONS_SUPPRESSED: Family = counter(
    "meridian_ejections_suppressed_total",
    &["region"],
    "Times a region failed its probes and kept its traffic all the same, because of the limit on ejections.",
);
/// Times all regions fell together.
pub const SHARED_FATES: Family = counter(
    "meridian_correlated_failures_total",
    &[],
    "Times all regions fell together, most likely for a fault on this side, so that none was out.",
);
/// 1 while all regions are down together, so that none is out; else 0.
pub const CORRELATED_WITHIN: Family = gauge(
    "meridian_correlated_failure",
    &[],
    "1 while all regions are down together, so that none is out; else 0.",
);
/// Requests to endpoints on probation, by how they were answered.
pub const PROBATION_REQUESTS: Family = counter(
    "meridian_probation_requests_total",
    &["region", "result"],
    "Requests to endpoints on probation, by how they were answered (good, bad).",
);
/// Requests that failed in a way that calls for a probe at once.
pub const SUSPICIONS: Family = counter(
    "meridian_suspicions_total",
    &["region"],
    "Requests that failed in a way that calls for a probe at once.",
);
/// Requests that nothing was learned from for want of room.
pub const EVIDENCE_CROWDED_OUT: Family = counter(
    "meridian_evidence_crowded_out_total",
    &[],
    "Requests whose route and region there was no room to learn from: a worker compares 4,096 pairs.",
);
/// What workers and probes told while the control side had no room for it.
pub const EVENTS_DROPPED: Family = counter(
    "meridian_events_dropped_total",
    &[],
    "What workers and probes told while the control side had no room to hear it.",
);
/// Look-ups of origins' names, by result.
pub const DNS_ANSWERS: Family = counter(
    "meridian_dns_answers_total",
    &["result"],
    "Look-ups of origins' names, by result.",
);
/// When the loaded country database was built, in seconds since 1970.
pub const GEO_DATABASE_BUILT: Family = gauge(
    "meridian_geo_database_build_timestamp_seconds",
    &[],
    "When the loaded country database was built, in seconds since 1970.",
);
/// Reloads, by result.
pub const RELOADS: Family = counter(
    "meridian_config_reloads_total",
    &["result"],
    "Reloads, by result.",
);
/// 1 when the last reload was taken, 0 when it was refused.
pub const RELOAD_SUCCESSFUL: Family = gauge(
    "meridian_config_last_reload_successful",
    &[],
    "1 when the last reload was taken, 0 when it was refused.",
);
/// When the last reload was taken, in seconds since 1970.
pub const RELOAD_SUCCESS_TIME: Family = gauge(
    "meridian_config_last_reload_success_timestamp_seconds",
    &[],
    "When the last reload was taken, in seconds since 1970.",
);
/// Counts the tables published, from 1.
pub const GENERATION: Family = gauge(
    "meridian_config_generation",
    &[],
    "Counts the tables published, from 1.",
);
/// Access log lines dropped because the sink was slow.
pub const LOG_DROPS: Family = counter(
    "meridian_log_records_dropped_total",
    &[],
    "Access log lines dropped because the sink was slow.",
);
/// Times the state directory could not be written to.
pub const STATE_WRITE_FAILURES: Family = counter(
    "meridian_state_write_failures_total",
    &[],
    "Times the state directory could not be written to.",
);
/// When the state was last written, in seconds since 1970; absent without a state directory.
pub const STATE_LAST_WRITE: Family = gauge(
    "meridian_state_last_write_timestamp_seconds",
    &[],
    "When the state was last written, in seconds since 1970; absent without a state directory.",
);
/// Always 1; the label names the version.
pub const BUILD_INFO: Family = gauge(
    "meridian_build_info",
    &["version"],
    "Always 1; the label names the version.",
);
/// When the process started, in seconds since 1970.
pub const PROCESS_START: Family = gauge(
    "meridian_process_start_time_seconds",
    &[],
    "When the process started, in seconds since 1970.",
);
/// Routes and regions counted as other, because there are more than have a label.
pub const LABELS_OVER_BUDGET: Family = gauge(
    "meridian_labels_over_budget",
    &["label"],
    "Routes and regions counted as other, because there are more than have a label.",
);
/// All families, in the order of the page.
pub const FAMILIES: &[Family] = &[
    REQUESTS,
    REQUEST_DURATION,
    UPSTREAM_FIRST_BYTE,
    UPSTREAM_DURATION,
    REQUESTS_IN_FLIGHT,
    DECISIONS,
    FAILOVERS,
    ATTEMPT_FAILURES,
    RETRIES,
    HEDGES,
    RESUMES,
    RETRY_BUDGET_EXHAUSTED,
    UPSTREAM_CONNECTIONS_OPENED,
    UPSTREAM_CONNECTIONS_REUSED,
    VIEWER_SOURCES,
    STRIPPED_HEADERS,
    REPLAY_OVERFLOWS,
    HOLDS_DENIED,
    IDLE_EVICTED,
    UPLOADS_CUT,
    BYTES_IN,
    BYTES_OUT,
    CONNECTIONS_ACTIVE,
    CONNECTIONS,
    CONNECTION_ENDS,
    PROXY_HEADER_FAILURES,
    PANICS,
    SHED,
    TLS_HANDSHAKES,
    CERTIFICATE_EXPIRY,
    REGION_UP,
    REGION_SHARE,
    REGION_STAGE,
    REGION_LATENCY,
    REGION_ENDPOINTS,
    REGION_DRAINED,
    PROBE_RESULTS,
    PROBE_DURATION,
    TRANSITIONS,
    EJECTIONS_SUPPRESSED,
    SHARED_FATES,
    CORRELATED_WITHIN,
    PROBATION_REQUESTS,
    SUSPICIONS,
    EVIDENCE_CROWDED_OUT,
    EVENTS_DROPPED,
    DNS_ANSWERS,
    GEO_DATABASE_BUILT,
    RELOADS,
    RELOAD_SUCCESSFUL,
    RELOAD_SUCCESS_TIME,
    GENERATION,
    LOG_DROPS,
    STATE_WRITE_FAILURES,
    STATE_LAST_WRITE,
    BUILD_INFO,
    PROCESS_START,
    LABELS_OVER_BUDGET,
];

/// The reference of all metrics as Markdown: what `docs/metrics.md` holds.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat `/metrics` shows. Label values come from closed sets: routes and regions of the\n\
         configuration (`none` where a request got none, `other` beyond 50 routes or 20 regions), and\n\
         words fixed in the program. Never a path, a host or an address.\n\n\
         | name | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in FAMILIES {
        page.push_str(&format!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.label(),
            family.labels.join(", "),
            family.help
        ));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_appear_once() {
        for (index, family) in FAMILIES.iter().enumerate() {
            assert!(family.name.starts_with("meridian_"), "{}", family.name);
            assert_eq!(
                family.name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{}",
                family.name
            );
            assert!(
                FAMILIES[index + 1..]
                    .iter()
                    .all(|other| other.name != family.name)
            );
            assert!(family.help.ends_with('.') && !family.help.contains(['\n', '|', '\\']));
            for forbidden in ["path", "host", "address", "country"] {
                assert!(!family.labels.contains(&forbidden), "{}", family.name);
            }
        }
    }
}
