//! Parts of Envoy's configuration: how a cluster is spoken to.

use std::path::Path;

/// By HTTP/2.
pub(crate) const UPSTREAM_HTTP2: &str = r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
"#;

/// By TLS, with a certificate for `name` by the authority in this file.
pub(crate) fn upstream_tls(name: &str, authority: &Path) -> String {
    let authority = authority.display();
    format!(
        r#"    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: {name}
        common_tls_context:
          validation_context: {{trusted_ca: {{filename: {authority}}}}}
"#
    )
}
