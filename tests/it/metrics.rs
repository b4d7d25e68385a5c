//! The metrics page: what workers counted, summed and named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use meridian::telemetry::metrics::{
    CodeClass, Exposition, ExpositionFormat, MetricsRegistry, RequestMetrics, families,
};
use meridian_core::decide::Rule;
use meridian_core::model::id::{RegionId, RouteId};
use meridian_core::model::outcome::{ErrorKind, Phases};
use meridian_core::model::viewer::ViewerSource;
use meridian_core::table::origin::{ProbeSpec, Region, UpstreamSpec};
use meridian_core::table::policy::{Policy, RetryPolicy, UpstreamTimeouts};
use meridian_core::table::route::{HostPattern, Route};
use meridian_core::table::{RoutingTable, Written};

use crate::house::sources::{Source, sources};
use crate::support::client::get;
use crate::support::edge::Edge;
use crate::support::metrics::{page, value};
use crate::support::origin::FakeOrigin;

/// A table in which every route may use every region. Regions must be sorted.
pub(crate) fn table(routes: &[&str], regions: &[&str]) -> RoutingTable {
    let region = |name: &&str| Region {
        name: Arc::from(*name),
        origins: Vec::new(),
        upstream: UpstreamSpec::default(),
        place: None,
        probe: ProbeSpec::default(),
        written: Written::default(),
    };
    let order: Vec<RegionId> = (0..regions.len()).map(RegionId::at).collect();
    let route = |name: &&str| Route {
        name: Arc::from(*name),
        host: HostPattern::Any,
        path: "/".to_owned(),
        regions: order.iter().copied().collect(),
        order: order.clone(),
        policy: Policy::Latency,
        prefer: Vec::new(),
        residency: Vec::new(),
        retry: RetryPolicy::default(),
        timeouts: UpstreamTimeouts::default(),
        written: Written::default(),
        policy_written: Written::default(),
    };
    RoutingTable::new(
        vec!["meridian.toml".to_owned()],
        regions.iter().map(region).collect(),
        routes.iter().map(route).collect(),
    )
}

#[test]
fn the_page_is_what_two_workers_counted() {
    let registry = MetricsRegistry::default();
    let metrics = registry.request_metrics(&table(&["api"], &["eu-west-1", "us-east-1"]), 2);
    let (api, eu, us) = (RouteId(0), RegionId(0), RegionId(1));
    for worker in [0, 1] {
        let worker = metrics.shard(worker);
        worker.request_started(ViewerSource::Header);
        worker.decided(api, us, Rule::Latency);
        worker.attempt_failed(us, ErrorKind::ConnectRefused);
        worker.failed_over(api, us, ErrorKind::ConnectRefused);
        worker.retried(eu);
        let phases = Phases {
            connect: Some(Duration::from_millis(1)),
            first_byte: Some(Duration::from_millis(5)),
            ..Phases::default()
        };
        worker.answered(Some(api), eu, &phases, false);
        worker.request_done(
            Some(api),
            Some(eu),
            CodeClass::of(Some(200)),
            Duration::from_millis(7),
        );
    }
    let passed = ["eu-west-1", "passed"];
    registry
        .counter(&families::PROBE_RESULTS, &passed)
        .increment(3);
    registry
        .gauge(&families::REGION_UP, &["a\"b\\c\nd"])
        .set(1.0);
    let _not_known = registry.gauge(&families::REGION_LATENCY, &["eu-west-1"]);
    insta::assert_snapshot!("metrics_page", page(&registry));
}

#[test]
fn every_line_of_the_page_is_described_and_finite() {
    let registry = MetricsRegistry::default();
    let metrics = registry.request_metrics(&table(&["api"], &["eu"]), 1);
    let worker = metrics.shard(0);
    worker.request_started(ViewerSource::Unknown);
    worker.request_done(None, None, CodeClass::None, Duration::ZERO);
    let page = page(&registry);
    assert!(!page.contains("NaN") && !page.contains("inf "));
    let mut described = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described = rest.split(' ').next().unwrap().to_owned();
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&described), "{line}");
        }
    }
    let none = "meridian_requests_total{route=\"none\",region=\"none\",code_class=\"none\"}";
    assert_eq!(value(&page, none), Some(1.0));
}

#[test]
fn counts_survive_a_reload_that_keeps_the_names() {
    let registry = MetricsRegistry::default();
    let count = |metrics: &RequestMetrics, route: u32| {
        let worker = metrics.shard(0);
        worker.request_started(ViewerSource::Builtin);
        let (route, region) = (Some(RouteId(route)), Some(RegionId(0)));
        worker.request_done(route, region, CodeClass::Success, Duration::ZERO);
    };
    let api = "meridian_requests_total{route=\"api\",region=\"eu\",code_class=\"2xx\"}";
    let old = "meridian_requests_total{route=\"old\",region=\"eu\",code_class=\"2xx\"}";

    let first = registry.request_metrics(&table(&["old", "api"], &["eu"]), 1);
    count(&first, 0);
    count(&first, 1);
    let refused = registry.request_metrics(&table(&["other"], &["us"]), 1);
    drop(refused);
    let second = registry.request_metrics(&table(&["api", "new"], &["eu"]), 1);
    count(&second, 0);
    // A request that began on the old table ends there.
    count(&first, 1);
    assert_eq!(value(&page(&registry), api), Some(3.0));
    assert_eq!(value(&page(&registry), old), Some(1.0));
    drop(first);
    assert_eq!(value(&page(&registry), api), Some(3.0));
    let _third = registry.request_metrics(&table(&["api"], &["eu"]), 1);
    drop(second);
    assert_eq!(
        value(&page(&registry), old),
        None,
        "a route that is gone takes its series along"
    );
    assert_eq!(value(&page(&registry), api), Some(3.0));
}

#[test]
fn routes_and_regions_beyond_the_budget_share_a_label() {
    let routes: Vec<String> = (0..60).map(|n| format!("route-{n:02}")).collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let regions: Vec<String> = (0..25).map(|n| format!("region-{n:02}")).collect();
    let regions: Vec<&str> = regions.iter().map(String::as_str).collect();
    let registry = MetricsRegistry::default();
    let before = registry.request_metrics(&table(&["route-59"], &["region-24"]), 1);
    let metrics = registry.request_metrics(&table(&routes, &regions), 1);
    for route in 0..60 {
        for region in 0..25 {
            let worker = metrics.shard(0);
            worker.request_started(ViewerSource::Header);
            let (route, region) = (Some(RouteId(route)), Some(RegionId(region)));
            worker.request_done(route, region, CodeClass::Success, Duration::ZERO);
        }
    }
    let page = page(&registry);
    let lines: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("meridian_requests_total"))
        .collect();
    assert_eq!(lines.len(), 51 * 21);
    let total: f64 = lines
        .iter()
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(total, 60.0 * 25.0);
    assert_eq!(
        value(&page, "meridian_labels_over_budget{label=\"route\"}"),
        Some(10.0)
    );
    let kept =
        "meridian_requests_total{route=\"route-59\",region=\"region-24\",code_class=\"2xx\"}";
    assert_eq!(
        value(&page, kept),
        Some(1.0),
        "a label in use is not taken away"
    );
    drop(before);
}

#[test]
fn openmetrics_is_written_for_those_who_ask() {
    let format =
        ExpositionFormat::accepted(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
    assert_eq!(format, ExpositionFormat::OpenMetrics);
    assert_eq!(
        ExpositionFormat::accepted(Some("text/plain")),
        ExpositionFormat::Prometheus
    );
    let registry = MetricsRegistry::default();
    registry
        .counter(&families::RELOADS, &["refused"])
        .increment(1);
    registry.gauge(&families::RELOAD_SUCCESS_TIME, &[]).set(1.5);
    let mut page = Exposition::default();
    registry.collect(&mut page);
    let text = page.render(format);
    assert!(text.contains("# TYPE meridian_config_reloads counter\n"));
    assert!(text.contains("meridian_config_reloads_total{result=\"refused\"} 1\n"));
    assert!(text.contains(
        "# UNIT meridian_config_last_reload_success_timestamp_seconds seconds\n\
         meridian_config_last_reload_success_timestamp_seconds 1.5\n"
    ));
    assert!(text.ends_with("# EOF\n"));
}

/// The words that follow `before` in the code of these sources, up to what ends a word.
fn words_after<'a>(
    sources: impl IntoIterator<Item = &'a Source>,
    before: &str,
) -> BTreeSet<&'a str> {
    let lines = sources.into_iter().flat_map(|source| &source.lines);
    let found = lines.flat_map(|(_, line)| {
        line.match_indices(before).map(|(at, _)| {
            let rest = &line[at + before.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            &rest[..end.unwrap_or(rest.len())]
        })
    });
    found.collect()
}

/// A family takes a handle or a cell, which somebody makes and somebody writes. That a handle is
/// written the compiler sees: it is a field that would never be read.
#[test]
fn every_family_is_written_by_production_code() {
    let sources = sources();
    let is_metrics = |source: &&Source| source.path.starts_with("telemetry/metrics");
    let file = |name: &str| {
        let path = format!("telemetry/metrics/{name}.rs");
        let found = sources.iter().find(|source| source.path == path);
        found.unwrap_or_else(|| panic!("{path} is not there"))
    };
    let list = file("families");
    let declared: Vec<&str> = list
        .lines
        .iter()
        .filter_map(|(_, line)| line.trim().split_once(": "))
        .filter(|(_, rest)| {
            ["Counter, ", "Gauge, ", "Histogram, "]
                .iter()
                .any(|one| rest.starts_with(one))
        })
        .map(|(constant, _)| constant)
        .collect();
    assert_eq!(declared.len(), families::FAMILIES.len());
    let others = sources.iter().filter(|source| source.path != list.path);
    let named = words_after(others, "families::");
    for constant in declared {
        assert!(named.contains(constant), "nothing writes {constant}");
    }

    let written = words_after([file("worker")], ".");
    for cell in words_after([file("worker_cells")], "pub(super) ") {
        let is_cell = cell != "struct" && cell != "fn";
        assert!(
            !is_cell || written.contains(cell),
            "no cell {cell} is written"
        );
    }
    let called = words_after(sources.iter().filter(|source| !is_metrics(source)), ".");
    for method in words_after([file("worker")], "pub fn ") {
        assert!(called.contains(method), "no worker calls {method}");
    }
}

#[tokio::test]
async fn a_running_proxy_shows_every_family_it_has_something_for() {
    let well = FakeOrigin::start("fine").await;
    let edge = Edge::in_front_of(&[("one", "http://127.0.0.1:1"), ("two", &well.url())], "").await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "fine");
    let probed = "meridian_probe_duration_seconds_count{region=\"two\",phase=\"first_byte\"}";
    edge.counted(probed, 1.0).await;
    edge.counted("meridian_region_latency_seconds{region=\"two\"}", 0.0)
        .await;
    edge.counted(
        "meridian_routing_decisions_total{route=\"all\",region=\"one\",reason=\"failover\"}",
        1.0,
    )
    .await;
    let page = edge.admin("GET", "/metrics").await.text();
    // Of TLS, a country database and a state directory this proxy has none.
    let absent = [
        families::CERTIFICATE_EXPIRY,
        families::GEO_DATABASE_BUILT,
        families::STATE_LAST_WRITE,
    ];
    for family in families::FAMILIES {
        let shown = page.lines().any(|line| {
            let rest = line.strip_prefix(family.name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']) || rest.starts_with("_count"))
        });
        assert_eq!(shown, !absent.contains(family), "{}:\n{page}", family.name);
    }
}

#[test]
fn what_other_code_counts_is_shown_beside_ours() {
    let registry = MetricsRegistry::default();
    ::metrics::with_local_recorder(&registry, || {
        ::metrics::describe_counter!("plugin.calls", "Calls of the plugin.\nAll of them.");
        ::metrics::counter!("plugin.calls", "to" => "a\"b", "by-whom" => "me").increment(2);
        ::metrics::counter!("plugin.calls", "by-whom" => "me", "to" => "a\"b").increment(1);
        ::metrics::gauge!("plugin.depth").set(4.5);
        ::metrics::histogram!("plugin.seconds").record(Duration::from_millis(5));
        // A name has one type, and ours is what it is.
        ::metrics::gauge!("plugin.calls_total").set(7.0);
        ::metrics::gauge!("meridian_panics_total").set(7.0);
    });
    let page = page(&registry);
    let (_, theirs) = page.split_once("# HELP plugin").unwrap();
    assert!(theirs.starts_with(
        "_calls_total Calls of the plugin.\\nAll of them.\n# TYPE plugin_calls_total counter\n"
    ));
    for (series, wanted) in [
        ("plugin_calls_total{by_whom=\"me\",to=\"a\\\"b\"}", 3.0),
        ("plugin_depth", 4.5),
        ("plugin_seconds_count", 1.0),
        ("plugin_seconds_bucket{le=\"0.004096\"}", 0.0),
        ("plugin_seconds_bucket{le=\"0.006144\"}", 1.0),
        ("meridian_metric_series_refused_total", 2.0),
    ] {
        assert_eq!(value(&page, series), Some(wanted), "{series}:\n{page}");
    }
    assert_eq!(value(&page, "meridian_panics_total"), None);
}

#[test]
fn series_of_others_are_bounded() {
    let registry = MetricsRegistry::default();
    ::metrics::with_local_recorder(&registry, || {
        for number in 0..10_010 {
            ::metrics::counter!("plugin.calls", "path" => number.to_string()).increment(1);
        }
    });
    let page = page(&registry);
    assert_eq!(page.matches("plugin_calls_total{").count(), 10_000);
    let refused = value(&page, "meridian_metric_series_refused_total");
    assert_eq!(refused, Some(10.0));
}

#[test]
fn the_reference_in_docs_is_the_table_in_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    // `UPDATE_DOCS=1 cargo test the_reference_in_docs` writes it anew.
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, families::reference()).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(path).unwrap(),
        families::reference()
    );
}
