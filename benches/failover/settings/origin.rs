//! Stock nginx in front of each region, speaking HTTP/2 without TLS.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

/// Settings for servers at the first address of each pair, in front of the second; whatever
/// concerns connections is as nginx has it, so one ends after 1,000 requests.
pub(crate) fn text(folder: &Path, servers: &[(SocketAddr, SocketAddr)]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/origin.pid;
error_log {folder}/origin.log error;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/origin-body;
    proxy_temp_path {folder}/origin-proxy;
    fastcgi_temp_path {folder}/origin-fastcgi;
    uwsgi_temp_path {folder}/origin-uwsgi;
    scgi_temp_path {folder}/origin-scgi;
"
    );
    for (at, to) in servers {
        let _ = write!(
            text,
            "    server {{
        listen {at} http2;
        location / {{
            proxy_pass http://{to};
        }}
    }}
"
        );
    }
    text.push_str("}\n");
    text
}
