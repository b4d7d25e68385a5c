//! Envoy.

use crate::certificates::{AUTHORITY, CERTIFICATE, KEY, NAME};
use crate::envoy_parts::{UPSTREAM_HTTP2, upstream_tls};
use crate::origin::Speech;
use crate::row::Viewers;
use crate::site::Site;

pub(super) fn text(site: &Site) -> String {
    let (address, origin) = (site.address, site.origin);
    let (ip, port) = (address.ip(), address.port());
    let (origin_ip, origin_port) = (origin.ip(), origin.port());
    let (tls, to_origins) = (tls(site), to_origins(site));
    let routes: String = site.paths().iter().map(|path| route(path)).collect();
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: {ip}, port_value: {port}}}}}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: viewers
          upgrade_configs: [{{upgrade_type: websocket}}]
          http2_protocol_options: {{max_concurrent_streams: 1000}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
{routes}{tls}  clusters:
  - name: origins
    type: STATIC
{to_origins}    connect_timeout: 1s
    circuit_breakers:
      thresholds: [{{max_connections: 30000, max_requests: 30000, max_pending_requests: 30000}}]
    load_assignment:
      cluster_name: origins
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {origin_ip}, port_value: {origin_port}}}}}}}}}]
"#
    )
}

fn route(path: &str) -> String {
    format!(
        "              - match: {{prefix: \"{path}\"}}
                route: {{cluster: origins, timeout: 0s}}\n"
    )
}

fn tls(site: &Site) -> String {
    let folder = site.folder.display();
    match site.row.viewers {
        Viewers::Plain => String::new(),
        Viewers::Tls => format!(
            r#"      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {folder}/{CERTIFICATE}}}, private_key: {{filename: {folder}/{KEY}}}}}]
"#
        ),
    }
}

fn to_origins(site: &Site) -> String {
    match site.row.origins {
        Speech::Plain => String::new(),
        Speech::Http2 => UPSTREAM_HTTP2.to_owned(),
        Speech::Tls => upstream_tls(NAME, &site.folder.join(AUTHORITY)),
    }
}
