//! What the admin side is told of the other parts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::admin::health::Flags;
use crate::admin::view::ReloadView;
use crate::admin::{AdminContext, AdminSources, ExplainQuery, ReloadFuture};
use crate::app::{confirm, scrape};
use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::probe::{ProbeReport, Prober};
use crate::reload::{Cause, Outcome, ReloadResult, Reloader};
use crate::resources::tls::certificate_facts;
use crate::telemetry::metrics::MetricsRegistry;
use meridian_core::decide::explain::explain;
use meridian_core::decide::request::RequestFacts;
use meridian_core::model::country::Country;
use meridian_core::model::outcome::ProbeOutcome;
use meridian_core::model::viewer::{Viewer, ViewerSource};
use meridian_core::table::path::matched_path;

/// The parts of the control side that the admin is told of.
pub(super) struct AdminParts {
    pub(super) clock: Clock,
    pub(super) board: Board,
    pub(super) registry: Arc<MetricsRegistry>,
    pub(super) flags: Arc<Flags>,
    pub(super) prober: Prober,
    pub(super) reloader: Arc<Reloader>,
}

/// The admin server's view of everything.
pub(super) fn state(parts: AdminParts) -> AdminContext {
    let AdminParts {
        clock,
        board,
        registry,
        flags,
        prober,
        reloader,
    } = parts;
    let journal = Arc::clone(board.journal());
    let [beliefs, certs, config, explained, confirmed] = [(); 5].map(|()| board.clone());
    let (last, again) = (Arc::clone(&reloader), Arc::clone(&reloader));
    let sources = AdminSources {
        beliefs: Box::new(move || Arc::clone(&beliefs.live().beliefs)),
        last_reload: Box::new(move || last.last().map(|result| reload_view(&result))),
        probes: Box::new(move || probe_views(&prober)),
        certs: Box::new(move || certificate_views(&certs.live())),
        config: Box::new(move || config_view(&config.live())),
        explain: Box::new(move |query| explanation(&explained.live(), &query, clock)),
        reload: Box::new(move || reload(Arc::clone(&again))),
        confirm: Box::new(move |name| Box::pin(confirm::confirm(confirmed.clone(), name))),
        metrics: Box::new(move |page| scrape::add(page, &board.live())),
    };
    AdminContext::new(clock, registry, flags, sources, journal)
}

fn reload(reloader: Arc<Reloader>) -> ReloadFuture {
    Box::pin(async move {
        let result = reloader.reload(Cause::Operator).await;
        let view = reload_report(&result);
        if result.is_success() {
            Ok(view)
        } else {
            Err(view)
        }
    })
}

fn reload_report(result: &ReloadResult) -> Value {
    let mut report = json!({
        "result": result.outcome.label(),
        "generation": result.generation,
        "content_hash": format!("{:016x}", result.content_hash),
        "took_seconds": result.took.as_secs_f64(),
        "message": message(result),
    });
    match &result.outcome {
        Outcome::Installed {
            changes,
            needs_restart,
        } => {
            report["changes"] = json!(changes);
            report["needs_restart"] = json!(needs_restart);
        }
        Outcome::Unchanged => {}
        Outcome::Refused { problems } => {
            report["problems"] = json!(problems);
        }
    }
    report
}

fn reload_view(result: &ReloadResult) -> ReloadView {
    ReloadView {
        successful: result.is_success(),
        at_unix_seconds: unix_seconds(result.at),
        message: message(result),
    }
}

fn message(result: &ReloadResult) -> String {
    let milliseconds = result.took.as_millis();
    match &result.outcome {
        Outcome::Installed { changes, .. } => {
            let generation = result.generation;
            format!(
                "generation {generation} in {milliseconds} ms: {}",
                changes.join(", ")
            )
        }
        Outcome::Unchanged => "unchanged".to_owned(),
        Outcome::Refused { problems } => {
            let summary = problems.lines().last().unwrap_or_default();
            format!("refused, the running configuration is unchanged: {summary}")
        }
    }
}

fn probe_views(prober: &Prober) -> Value {
    prober.reports().iter().map(probe_view).collect()
}

fn probe_view(report: &ProbeReport) -> Value {
    let mut view = json!({
        "region": report.region.as_ref(),
        "address": report.address,
        "passed": report.passed,
        "failed": report.failed,
        "at_unix_seconds": report.at.map(unix_seconds),
    });
    match &report.last {
        None => {}
        Some(ProbeOutcome::Failed(failure)) => {
            view["result"] = json!(failure.label());
            view["failure"] = json!(failure.to_string());
        }
        Some(ProbeOutcome::Passed { phases, warm }) => {
            let seconds = |phase: Option<std::time::Duration>| phase.map(|took| took.as_secs_f64());
            view["result"] = json!("passed");
            view["warm"] = json!(warm);
            view["connect_seconds"] = json!(seconds(phases.connect));
            view["tls_seconds"] = json!(seconds(phases.tls));
            view["first_byte_seconds"] = json!(seconds(phases.first_byte));
        }
    }
    view
}

fn certificate_views(live: &Live) -> Value {
    let listeners = live.resources.config.listeners.iter();
    let certificates = listeners.filter_map(|listener| {
        let facts = certificate_facts(listener.tls.as_ref()?).unwrap_or_default();
        Some(facts.into_iter().map(move |fact| {
            json!({
                "listener": listener.address,
                "file": fact.path,
                "names": fact.names,
                "key": fact.key,
                "not_before_unix_seconds": unix_seconds(fact.not_before),
                "not_after_unix_seconds": unix_seconds(fact.not_after),
            })
        }))
    });
    certificates.flatten().collect()
}

/// The configuration in effect, defaults written out, secrets left out.
fn config_view(live: &Live) -> Value {
    let config = &live.resources.config;
    let files: Vec<_> = config.sources.iter().map(|source| &source.path).collect();
    json!({
        "generation": live.snapshot.generation,
        "content_hash": format!("{:016x}", config.content_hash),
        "files": files,
        "effective": meridian_core::config::effective(config),
    })
}

fn explanation(live: &Live, query: &ExplainQuery, clock: Clock) -> Result<Value, String> {
    let viewer = viewer(live, query)?;
    let path = query.path.as_deref().unwrap_or("/");
    if !path.starts_with('/') {
        return Err(format!("path {path:?} does not begin with a slash"));
    }
    let path = matched_path(path.split('?').next().unwrap_or("/"));
    let facts = RequestFacts::get(query.host.as_deref(), &path, &viewer);
    let explanation = explain(&live.snapshot, &facts, clock.now());
    let text = explanation.to_string();
    let mut view = serde_json::to_value(explanation).map_err(|error| error.to_string())?;
    view["text"] = json!(text);
    Ok(view)
}

/// The viewer a query means: a country that is named comes before an address.
fn viewer(live: &Live, query: &ExplainQuery) -> Result<Viewer, String> {
    let address = match &query.ip {
        None => IpAddr::from([0, 0, 0, 0]),
        Some(ip) => ip.parse().map_err(|_| format!("{ip:?} is no address"))?,
    };
    let named = match &query.country {
        None => None,
        Some(code) => Some(
            Country::parse(code.as_bytes())
                .ok_or_else(|| format!("{code:?} is no country code"))?,
        ),
    };
    let found = named
        .map(|country| (country, ViewerSource::Header))
        .or_else(|| live.resources.geo.country(address));
    Ok(Viewer {
        address,
        country: found.map(|(country, _)| country),
        source: found.map_or(ViewerSource::Unknown, |(_, source)| source),
        place: None,
    })
}

fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}
