//! Every metric family, in one list: its name, type, labels and help. The name tells the unit.

use crate::telemetry::metrics::family::{MetricFamily, MetricType};

/// Makes each entry a constant and a place on the page, its documentation the help: what a function
/// cannot do, so that no family can be declared and left out.
macro_rules! families {
    ($($(#[doc = $help:literal])+ $constant:ident: $type:ident, $name:literal, [$($label:literal),*];)+) => {
        $(
            $(#[doc = $help])+
            pub const $constant: MetricFamily = MetricFamily {
                name: $name,
                metric_type: MetricType::$type,
                labels: &[$($label),*],
                help: concat!($($help),+),
            };
        )+

        /// All families, in the order of the page.
        pub const FAMILIES: &[MetricFamily] = &[$($constant),+];
    };
}

families! {
    /// Requests answered, by class of the status; none: the viewer left or the connection broke
    /// first.
    REQUESTS: Counter, "meridian_requests_total", ["route", "region", "code_class"];
    /// From a request's head to the last byte of its response.
    REQUEST_DURATION: Histogram, "meridian_request_duration_seconds", ["route", "region"];
    /// From sending a request to an origin to its response head.
    UPSTREAM_FIRST_BYTE: Histogram, "meridian_upstream_first_byte_seconds", ["route", "region"];
    /// What opening a connection to an origin took, by phase.
    UPSTREAM_DURATION: Histogram, "meridian_upstream_duration_seconds", ["region", "phase"];
    /// Requests being served now.
    REQUESTS_IN_FLIGHT: Gauge, "meridian_requests_in_flight", [];
    /// Decisions, by the region put first and the rule that put it there.
    DECISIONS: Counter, "meridian_routing_decisions_total", ["route", "region", "reason"];
    /// Requests that left a region for another, by the region left and why.
    FAILOVERS: Counter, "meridian_failovers_total", ["route", "from", "reason"];
    /// Attempts at a region that failed, by how.
    ATTEMPT_FAILURES: Counter, "meridian_upstream_attempt_failures_total", ["region", "reason"];
    /// Attempts after the first, by the region they went to.
    RETRIES: Counter, "meridian_retries_total", ["region"];
    /// Second attempts sent while the first was late, by the region they went to and whether they
    /// answered first (won, lost).
    HEDGES: Counter, "meridian_hedges_total", ["region", "result"];
    /// Requests for the rest of a body that broke off or stood still elsewhere, by the region they
    /// went to and what came of them: its answer went on with the body (resumed), was not the same
    /// bytes (unfit), there was none (failed), or the body went on by itself first (overtaken).
    RESUMES: Counter, "meridian_resumes_total", ["region", "result"];
    /// Retries not made because the region's budget was spent.
    RETRY_BUDGET_EXHAUSTED: Counter, "meridian_retry_budget_exhausted_total", ["region"];
    /// Connections opened to origins for requests.
    UPSTREAM_CONNECTIONS_OPENED: Counter, "meridian_upstream_connections_opened_total", ["region"];
    /// Requests sent over a connection that was already open.
    UPSTREAM_CONNECTIONS_REUSED: Counter, "meridian_upstream_connection_reuse_total", ["region"];
    /// Requests by where the viewer's country was learned.
    VIEWER_SOURCES: Counter, "meridian_geo_lookups_total", ["source"];
    /// Viewer header fields removed because the peer is not trusted.
    STRIPPED_HEADERS: Counter, "meridian_viewer_headers_stripped_total", [];
    /// Request bodies too large to be kept for another attempt.
    REPLAY_OVERFLOWS: Counter, "meridian_replay_buffer_overflows_total", [];
    /// Small answers that were streamed because there was no room to buffer them until they are whole.
    RESPONSE_BUFFERS_DENIED: Counter, "meridian_response_buffers_denied_total", [];
    /// Unused connections to origins closed because limits.idle_connections_per_endpoint newer ones
    /// were kept.
    IDLE_EVICTED: Counter, "meridian_idle_connections_evicted_total", [];
    /// Requests whose answer was done before they were written whole, and of which too many were
    /// still being written.
    UPLOADS_CUT: Counter, "meridian_uploads_cut_total", [];
    /// Attempts that found eight connections of an origin going away, one after the other, and dialled
    /// one of their own.
    STALE_CONNECTIONS_EXHAUSTED: Counter, "meridian_stale_connections_exhausted_total", [];
    /// Body bytes received from viewers.
    BYTES_IN: Counter, "meridian_request_body_bytes_total", [];
    /// Body bytes sent to viewers.
    BYTES_OUT: Counter, "meridian_response_body_bytes_total", [];
    /// Viewers' connections open now.
    CONNECTIONS_ACTIVE: Gauge, "meridian_connections_active", [];
    /// Viewers' connections accepted.
    CONNECTIONS: Counter, "meridian_connections_total", [];
    /// Viewers' connections ended, by how.
    CONNECTION_ENDS: Counter, "meridian_connection_ends_total", ["end"];
    /// PROXY headers of trusted peers that could not be read, by why.
    PROXY_HEADER_FAILURES: Counter, "meridian_proxy_header_failures_total", ["reason"];
    /// Faults in this program that ended one viewer's connection.
    PANICS: Counter, "meridian_panics_total", [];
    /// Connections and requests refused by a limit, by limit.
    SHED: Counter, "meridian_requests_shed_total", ["reason"];
    /// Viewers' TLS handshakes, by result.
    TLS_HANDSHAKES: Counter, "meridian_tls_handshakes_total", ["result"];
    /// When a served certificate ends, in seconds since 1970.
    CERTIFICATE_EXPIRY: Gauge, "meridian_tls_certificate_expiry_timestamp_seconds", ["name"];
    /// 1 while the region can serve, 0 while it cannot.
    REGION_UP: Gauge, "meridian_region_up", ["region"];
    /// Part of the viewers that a region may get, 0 to 1: less than 1 while it is down or returns.
    REGION_SHARE: Gauge, "meridian_region_share_ratio", ["region"];
    /// 1 for the stage that the failback of a region is at (full, down, on_probation, hold_down,
    /// ramping, awaiting_confirm), 0 for the others.
    REGION_STAGE: Gauge, "meridian_region_stage", ["region", "stage"];
    /// The estimate that ranks the region; absent while unknown.
    REGION_LATENCY: Gauge, "meridian_region_latency_seconds", ["region"];
    /// Addresses of the region, by health.
    REGION_ENDPOINTS: Gauge, "meridian_region_endpoints", ["region", "health"];
    /// 1 while the operator keeps the region out.
    REGION_DRAINED: Gauge, "meridian_region_drained", ["region"];
    /// Probes that ended, by result.
    PROBE_RESULTS: Counter, "meridian_probe_results_total", ["region", "result"];
    /// What probes took, by phase.
    PROBE_DURATION: Histogram, "meridian_probe_duration_seconds", ["region", "phase"];
    /// Changes of belief, by what changed (endpoint, region, ejection_suppressed,
    /// correlated_failure, leader, failback, addresses, operator) and the evidence (probe,
    /// requests_failed, requests_late, requests_compared, probation, time, operator, dns, reload,
    /// restart).
    TRANSITIONS: Counter, "meridian_transitions_total", ["kind", "cause"];
    /// Times a region failed its probes and kept its traffic all the same, because of the limit on
    /// ejections.
    EJECTIONS_SUPPRESSED: Counter, "meridian_ejections_suppressed_total", ["region"];
    /// Times all regions fell together, most likely for a fault on this side, so that none was out.
    CORRELATED_FAILURES: Counter, "meridian_correlated_failures_total", [];
    /// 1 while all regions are down together, so that none is out; else 0.
    CORRELATED_FAILURE: Gauge, "meridian_correlated_failure", [];
    /// Requests to endpoints on probation, by how they were answered (good, bad).
    PROBATION_REQUESTS: Counter, "meridian_probation_requests_total", ["region", "result"];
    /// Requests that failed in a way that calls for a probe at once.
    SUSPICIONS: Counter, "meridian_suspicions_total", ["region"];
    /// Requests whose route and region there was no room to learn from: a worker compares 4,096
    /// pairs.
    OUTLIER_REQUESTS_UNTRACKED: Counter, "meridian_outlier_requests_untracked_total", [];
    /// What workers and probes told while the control side had no room to hear it.
    EVENTS_DROPPED: Counter, "meridian_events_dropped_total", [];
    /// Changes of belief that were dropped from the history for newer ones.
    HISTORY_DROPPED: Counter, "meridian_history_dropped_total", [];
    /// Look-ups of origins' names, by result.
    DNS_ANSWERS: Counter, "meridian_dns_answers_total", ["result"];
    /// Answers with more addresses of one name than are used, which is 64.
    DNS_ANSWERS_OVER_LIMIT: Counter, "meridian_dns_answers_over_limit_total", [];
    /// When the loaded country database was built, in seconds since 1970.
    GEO_DATABASE_BUILT: Gauge, "meridian_geo_database_build_timestamp_seconds", [];
    /// Reloads, by result.
    RELOADS: Counter, "meridian_config_reloads_total", ["result"];
    /// 1 when the last reload was taken, 0 when it was refused.
    RELOAD_SUCCESSFUL: Gauge, "meridian_config_last_reload_successful", [];
    /// When the last reload was taken, in seconds since 1970.
    RELOAD_SUCCESS_TIME: Gauge, "meridian_config_last_reload_success_timestamp_seconds", [];
    /// Counts the tables published, from 1.
    GENERATION: Gauge, "meridian_config_generation", [];
    /// Access log lines dropped because the sink was slow.
    LOG_DROPS: Counter, "meridian_log_records_dropped_total", [];
    /// Times the state directory could not be written to.
    STATE_WRITE_FAILURES: Counter, "meridian_state_write_failures_total", [];
    /// When the state was last written, in seconds since 1970; absent without a state directory.
    STATE_LAST_WRITE: Gauge, "meridian_state_last_write_timestamp_seconds", [];
    /// Always 1; the label names the version.
    BUILD_INFO: Gauge, "meridian_build_info", ["version"];
    /// When the process started, in seconds since 1970.
    PROCESS_START: Gauge, "meridian_process_start_time_seconds", [];
    /// Routes and regions counted as other, because there are more than have a label.
    LABELS_OVER_BUDGET: Gauge, "meridian_labels_over_budget", ["label"];
    /// Series not shown because there were 10,000 of the control plane and of other code in the
    /// process.
    SERIES_REFUSED: Counter, "meridian_metric_series_refused_total", [];
}

/// The family of this name.
#[must_use]
pub(super) fn named(name: &str) -> Option<&'static MetricFamily> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// The reference of all metrics as Markdown: what `docs/metrics.md` holds.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nWhat `/metrics` shows. Label values come from closed sets: routes and regions of the\n\
         configuration (`none` where a request got none, `other` beyond 50 routes or 20 regions), and\n\
         words fixed in the program. Never a path, a host or an address.\n\n\
         What code in this process counts through the [`metrics`](https://docs.rs/metrics) facade is shown\n\
         after them: characters that Prometheus does not allow in a name become `_`, a counter's name gets\n\
         `_total`, and a histogram is taken to be of seconds.\n\n\
         | name | type | unit | labels | meaning |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        page.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            family.name,
            family.metric_type.label(),
            family.unit().unwrap_or_default(),
            family.labels.join(", "),
            family.help()
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
                family.metric_type == MetricType::Counter,
                "{}",
                family.name
            );
            if family.metric_type == MetricType::Histogram {
                assert_eq!(family.unit(), Some("seconds"), "{}", family.name);
            }
            assert!(
                FAMILIES[index + 1..]
                    .iter()
                    .all(|other| other.name != family.name)
            );
            let help = family.help();
            assert!(help.ends_with('.') && !help.contains(['\n', '|', '\\']));
            for forbidden in ["path", "host", "address", "country"] {
                assert!(!family.labels.contains(&forbidden), "{}", family.name);
            }
        }
    }
}
