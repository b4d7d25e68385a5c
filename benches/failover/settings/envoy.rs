//! Envoy.

use crate::envoy_parts::{UPSTREAM_HTTP2, upstream_tls};
use crate::setup::{REGIONS, Setup, Site, certified_name};

pub(super) fn text(site: &Site) -> String {
    let cluster = cluster(site);
    let address = site.address;
    let (ip, port) = (address.ip(), address.port());
    let priorities = "{name: envoy.retry_priorities.previous_priorities, typed_config: \
        {\"@type\": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, \
        update_frequency: 1}}";
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
    tcp_backlog_size: 1024
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: viewers
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/", headers: [{{name: ":method", string_match: {{exact: GET}}}}]}}
                route:
                  cluster: regions
                  timeout: 10s
                  retry_policy:
                    retry_on: "5xx,gateway-error,reset,connect-failure,refused-stream,retriable-status-codes"
                    retriable_status_codes: [429]
                    num_retries: 2
                    per_try_timeout: 3s
                    retry_priority: {priorities}
                    retry_back_off: {{base_interval: 0.001s, max_interval: 0.01s}}
              - match: {{prefix: "/"}}
                route:
                  cluster: regions
                  timeout: 10s
                  retry_policy:
                    retry_on: "connect-failure,refused-stream"
                    num_retries: 2
                    per_try_timeout: 3s
                    retry_priority: {priorities}
                    retry_back_off: {{base_interval: 0.001s, max_interval: 0.01s}}
{cluster}"#
    )
}

/// All regions, as one cluster.
fn cluster(site: &Site) -> String {
    let endpoints: String = (0..REGIONS.len())
        .map(|region| endpoints(site, region))
        .collect();
    let how = how(site);
    let kind = match site.setup {
        Setup::Names => "STRICT_DNS",
        _ => "STATIC",
    };
    let codec = match site.setup {
        Setup::Http2 => ", codec_client_type: HTTP2",
        _ => "",
    };
    format!(
        r#"  clusters:
  - name: regions
    type: {kind}
{how}    connect_timeout: 1s
    common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}
    circuit_breakers:
      thresholds: [{{max_connections: 8000, max_requests: 8000, max_pending_requests: 8000, max_retries: 1000}}]
    health_checks:
    - {{timeout: 1s, interval: 1s, no_traffic_interval: 1s, unhealthy_interval: 1s, unhealthy_threshold: 2, healthy_threshold: 2, http_health_check: {{path: /health{codec}}}}}
    outlier_detection:
      consecutive_5xx: 3
      consecutive_gateway_failure: 3
      enforcing_consecutive_gateway_failure: 100
      interval: 1s
      base_ejection_time: 5s
      max_ejection_percent: 100
      successful_active_health_check_uneject_host: false
    load_assignment:
      cluster_name: regions
      endpoints:
{endpoints}"#
    )
}

/// The endpoints of a region, which is a priority.
fn endpoints(site: &Site, region: usize) -> String {
    let all = site.endpoints().into_iter();
    let each: Vec<_> = all
        .filter(|(of, _)| *of == region)
        .filter_map(|(_, at)| {
            let (host, port) = at.split_once(':')?;
            Some(format!(
                "{{endpoint: {{address: {{socket_address: {{address: {host}, \
                 port_value: {port}}}}}}}}}"
            ))
        })
        .collect();
    let each = each.join(", ");
    let rank = site.rank(region);
    format!("      - {{priority: {rank}, lb_endpoints: [{each}]}}\n")
}

/// How endpoints are found and reached.
fn how(site: &Site) -> String {
    match site.setup {
        Setup::Tls => upstream_tls(&certified_name(), &site.authority()),
        Setup::Http2 => UPSTREAM_HTTP2.to_owned(),
        Setup::Names => {
            let (ip, port) = (site.names.ip(), site.names.port());
            format!(
                r#"    dns_lookup_family: V4_ONLY
    dns_refresh_rate: 1s
    respect_dns_ttl: true
    typed_dns_resolver_config:
      name: envoy.network.dns_resolver.cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{{socket_address: {{address: {ip}, port_value: {port}}}}}]
        dns_resolver_options: {{no_default_search_domain: true}}
"#
            )
        }
        _ => String::new(),
    }
}
