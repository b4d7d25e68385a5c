//! The configuration of each proxy: tuned for failing over, the first region preferred.
//!
//! Wherever the proxy can: health checks every second, checks on live traffic, another region on
//! connect failures, time-outs and 5xx for GET, never a second try of a POST that was sent,
//! connect time-out 1 s, first byte 3 s.

use std::net::SocketAddr;
use std::path::Path;

use crate::proxy::Proxy;

/// What differs from Meridian's defaults, for the head of the table.
pub(crate) const MERIDIAN: &str = "defaults, but failback hold 2 s and ramp 2 s";

/// The name under which the settings are written.
pub(crate) fn file_name(proxy: Proxy) -> &'static str {
    match proxy {
        Proxy::Meridian => "meridian.toml",
        Proxy::Nginx => "nginx.conf",
        Proxy::Haproxy => "haproxy.cfg",
        Proxy::Envoy => "envoy.yaml",
        Proxy::Caddy => "Caddyfile",
    }
}

/// The settings themselves.
pub(crate) fn text(
    proxy: Proxy,
    folder: &Path,
    address: SocketAddr,
    regions: &[SocketAddr; 3],
) -> String {
    match proxy {
        Proxy::Meridian => meridian(address, regions),
        Proxy::Nginx => nginx(folder, address, regions),
        Proxy::Haproxy => haproxy(address, regions),
        Proxy::Envoy => envoy(address, regions),
        Proxy::Caddy => caddy(address, regions),
    }
}

fn meridian(address: SocketAddr, [near, next, far]: &[SocketAddr; 3]) -> String {
    format!(
        r#"[[listener]]
address = "{address}"
[admin]
address = "off"
[region.near]
origins = ["http://{near}"]
[region.next]
origins = ["http://{next}"]
[region.far]
origins = ["http://{far}"]
[failback]
hold = "2s"
ramp = "2s"
[[route]]
name = "all"
path = "/"
regions = ["near", "next", "far"]
policy = "latency"
"#
    )
}

/// The free nginx has no active health checks. Its spare servers take turns, so the third gets a
/// weight that makes it the last in practice.
fn nginx(folder: &Path, address: SocketAddr, [near, next, far]: &[SocketAddr; 3]) -> String {
    let folder = folder.display();
    format!(
        r#"daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000;
    upstream regions {{
        server {near} max_fails=3 fail_timeout=5s;
        server {next} max_fails=3 fail_timeout=5s backup weight=1000;
        server {far} max_fails=3 fail_timeout=5s backup weight=1;
        keepalive 256;
    }}
    server {{
        listen {address} backlog=1024;
        location / {{
            proxy_pass http://regions;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 1s;
            proxy_read_timeout 3s;
            proxy_send_timeout 3s;
            proxy_next_upstream error timeout http_502 http_503 http_504;
            proxy_next_upstream_tries 3;
        }}
    }}
}}
"#
    )
}

fn haproxy(address: SocketAddr, [near, next, far]: &[SocketAddr; 3]) -> String {
    let check = "check inter 1s fall 2 rise 2 observe layer7 error-limit 3 on-error mark-down";
    format!(
        "global
    maxconn 8000
    nbthread 1
defaults
    mode http
    timeout client 75s
    timeout http-keep-alive 75s
    timeout connect 1s
    timeout server 3s
    timeout check 1s
    retries 2
    option redispatch 1
    retry-on conn-failure empty-response junk-response response-timeout 502 503 504
frontend viewers
    bind {address}
    default_backend regions
backend regions
    http-request disable-l7-retry unless METH_GET
    option httpchk GET /health
    http-check expect status 200
    http-reuse always
    server near {near} {check}
    server next {next} {check} backup
    server far {far} {check} backup
"
    )
}

fn envoy(address: SocketAddr, regions: &[SocketAddr; 3]) -> String {
    let endpoints: String = (0..)
        .zip(regions)
        .map(|(priority, region)| {
            format!(
                "      - {{priority: {priority}, lb_endpoints: [{{endpoint: {{address: \
                 {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}\n",
                region.ip(),
                region.port()
            )
        })
        .collect();
    let (ip, port) = (address.ip(), address.port());
    let priorities = "{name: envoy.retry_priorities.previous_priorities, typed_config: \
        {\"@type\": type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, \
        update_frequency: 1}}";
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
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
                    retry_on: "5xx,gateway-error,reset,connect-failure,refused-stream"
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
  clusters:
  - name: regions
    type: STATIC
    connect_timeout: 1s
    common_lb_config: {{healthy_panic_threshold: {{value: 0}}}}
    circuit_breakers:
      thresholds: [{{max_connections: 8000, max_requests: 8000, max_pending_requests: 8000, max_retries: 1000}}]
    health_checks:
    - {{timeout: 1s, interval: 1s, no_traffic_interval: 1s, unhealthy_interval: 1s, unhealthy_threshold: 2, healthy_threshold: 2, http_health_check: {{path: /health}}}}
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

fn caddy(address: SocketAddr, [near, next, far]: &[SocketAddr; 3]) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
http://:{port} {{
    bind {ip}
    reverse_proxy {near} {next} {far} {{
        lb_policy first
        lb_retries 2
        lb_try_duration 10s
        lb_try_interval 10ms
        lb_retry_match {{
            method GET
        }}
        fail_duration 5s
        max_fails 3
        unhealthy_status 5xx
        health_uri /health
        health_interval 1s
        health_timeout 1s
        health_fails 2
        health_passes 2
        health_status 2xx
        transport http {{
            dial_timeout 1s
            response_header_timeout 3s
            read_timeout 10s
            keepalive_idle_conns_per_host 256
        }}
    }}
}}
"
    )
}
