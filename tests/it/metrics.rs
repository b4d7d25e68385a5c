//! The metrics page: what workers counted, summed and named.

use std::sync::Arc;
use std::time::Duration;

use meridian::telemetry::metrics::exposition::Format;
use meridian::telemetry::metrics::{self, CodeClass, MetricsRegistry, Scrape};
use meridian_core::decide::Rule;
use meridian_core::model::id::{RegionId, RouteId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::viewer::ViewerSource;
use meridian_core::table::origin::{ProbeSpec, Region, UpstreamSpec};
use meridian_core::table::policy::{Policy, RetryPolicy, UpstreamTimeouts};
use meridian_core::table::route::{HostPattern, Route};
use meridian_core::table::{RoutingTable, Written};

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

fn page(registry: &MetricsRegistry) -> String {
    registry.render(Scrape::default())
}

/// The value of the one line that begins with `series` and a space.
fn value(page: &str, series: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.map(|value| value.parse().unwrap())
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
        worker.connection_opened(eu, Duration::from_millis(1), None);
        worker.first_byte(api, eu, Duration::from_millis(5));
        worker.request_done(
            Some(api),
            Some(eu),
            CodeClass::of(Some(200)),
            Duration::from_millis(7),
        );
    }
    registry.count(&metrics::PROBE_RESULTS, &["eu-west-1", "passed"], 3);
    registry.set(&metrics::REGION_UP, &["a\"b\\c\nd"], 1.0);
    registry.set(&metrics::REGION_LATENCY, &["eu-west-1"], f64::NAN);
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
    let count = |metrics: &metrics::RequestMetrics, route: u32| {
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
    let format = Format::accepted(Some("application/openmetrics-text;version=1.0.0,*/*;q=0.1"));
    assert_eq!(format, Format::OpenMetrics);
    assert_eq!(Format::accepted(Some("text/plain")), Format::Prometheus);
    let registry = MetricsRegistry::default();
    registry.count(&metrics::RELOADS, &["refused"], 1);
    let text = registry.render(Scrape {
        format,
        ..Scrape::default()
    });
    assert!(text.contains("# TYPE meridian_config_reloads counter\n"));
    assert!(text.contains("meridian_config_reloads_total{result=\"refused\"} 1\n"));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_reference_in_docs_is_the_table_in_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    // `UPDATE_DOCS=1 cargo test the_reference_in_docs` writes it anew.
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, metrics::reference()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), metrics::reference());
}
