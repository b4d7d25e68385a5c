//! Metrics that are read from the parts' own state when someone asks.

use std::sync::Arc;
use std::time::SystemTime;

use crate::board::Live;
use crate::edge::counters::EdgeCounters;
use crate::probe::Prober;
use crate::reload::Reloader;
use crate::resources::tls::certificate_facts;
use crate::state::StateStore;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::exposition::Page;
use crate::telemetry::metrics::{self, Family};
use crate::upstream::resolve::{DnsResult, Resolver};

/// What speaks of the origins.
pub(super) struct Sources<'a> {
    pub(super) live: &'a Live,
    pub(super) events_dropped: u64,
    pub(super) resolver: &'a Resolver,
    pub(super) prober: &'a Prober,
    pub(super) store: &'a StateStore,
}

/// Adds all of it to a page.
pub(super) fn add(
    page: &mut Page,
    sources: &Sources<'_>,
    reloader: &Reloader,
    log: &AccessLog,
    counters: &[Arc<EdgeCounters>],
) {
    counters.iter().for_each(|worker| add_edge(page, worker));
    let active: u64 = counters.iter().map(|worker| worker.active.read()).sum();
    page.number(&metrics::CONNECTIONS_ACTIVE, &[], active as f64);
    for result in DnsResult::ALL {
        page.number(
            &metrics::DNS_ANSWERS,
            &[result.label()],
            sources.resolver.count(result) as f64,
        );
    }
    for report in sources.prober.reports() {
        let region = report.region.as_ref();
        page.number(
            &metrics::PROBE_RESULTS,
            &[region, "passed"],
            report.passed as f64,
        );
        page.number(
            &metrics::PROBE_RESULTS,
            &[region, "failed"],
            report.failed as f64,
        );
    }
    page.number(&metrics::EVENTS_DROPPED, &[], sources.events_dropped as f64);
    let counts = reloader.counts();
    page.number(&metrics::RELOADS, &["installed"], counts.installed as f64);
    page.number(&metrics::RELOADS, &["unchanged"], counts.unchanged as f64);
    page.number(&metrics::RELOADS, &["refused"], counts.refused as f64);
    // The configuration the process started with counts as a success.
    let successful = f64::from(u8::from(reloader.succeeded()));
    page.number(&metrics::RELOAD_SUCCESSFUL, &[], successful);
    page.number(
        &metrics::RELOAD_SUCCESS_TIME,
        &[],
        unix_seconds(reloader.last_success()),
    );
    page.number(&metrics::LOG_DROPS, &[], log.dropped() as f64);
    add_state(page, sources.store);
    if let Some(database) = sources.live.resources.geo.info().database {
        page.number(
            &metrics::GEO_DATABASE_BUILT,
            &[],
            database.built.as_secs_f64(),
        );
    }
    add_certificates(page, sources.live);
}

fn add_edge(page: &mut Page, worker: &EdgeCounters) {
    let counts = worker.snapshot();
    let mut add = |family: &Family, labels: &[&str], value: u64| {
        page.number(family, labels, value as f64);
    };
    add(&metrics::CONNECTIONS, &[], counts.accepted);
    add(
        &metrics::SHED,
        &["connection_limit"],
        counts.refused_at_limit,
    );
    add(
        &metrics::SHED,
        &["file_descriptors"],
        counts.out_of_descriptors,
    );
    add(&metrics::PANICS, &[], counts.panics);
    add(
        &metrics::TLS_HANDSHAKES,
        &["resumed"],
        counts.handshakes_resumed,
    );
    let full = counts.handshakes.saturating_sub(counts.handshakes_resumed);
    add(&metrics::TLS_HANDSHAKES, &["full"], full);
    for (failure, count) in counts.handshake_failures {
        add(&metrics::TLS_HANDSHAKES, &[failure], count);
    }
    for (failure, count) in counts.proxy_header_failures {
        add(&metrics::PROXY_HEADER_FAILURES, &[failure], count);
    }
    for (end, count) in counts.ends {
        add(&metrics::CONNECTION_ENDS, &[end], count);
    }
}

fn add_state(page: &mut Page, store: &StateStore) {
    let failures = store.failures() as f64;
    page.number(&metrics::STATE_WRITE_FAILURES, &[], failures);
    if let Some(at) = store.last_write() {
        page.number(&metrics::STATE_LAST_WRITE, &[], unix_seconds(at));
    }
}

fn add_certificates(page: &mut Page, live: &Live) {
    for listener in &live.resources.config.listeners {
        let facts = listener
            .tls
            .as_ref()
            .and_then(|tls| certificate_facts(tls).ok());
        for fact in facts.unwrap_or_default() {
            let name = fact.names.first().map_or("", String::as_str);
            page.number(
                &metrics::CERTIFICATE_EXPIRY,
                &[name],
                unix_seconds(fact.not_after),
            );
        }
    }
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
