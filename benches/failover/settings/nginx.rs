//! nginx: the free edition has no active health checks, and no HTTP/2 towards upstreams.

use crate::setup::{Setup, Site, certified_name};

/// Its spare servers take turns, so the third region gets a weight that makes it the last in
/// practice.
pub(super) fn text(site: &Site) -> String {
    let (folder, address) = (site.folder.display(), site.address);
    let servers: String = site
        .endpoints()
        .into_iter()
        .map(|(region, at)| {
            let spare = ["", " backup weight=1000", " backup weight=1"][site.rank(region)];
            format!("        server {at} max_fails=3 fail_timeout=5s{spare};\n")
        })
        .collect();
    let (scheme, tls) = match site.setup {
        Setup::Tls => ("https", tls(site)),
        _ => ("http", String::new()),
    };
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
{servers}        keepalive 256;
    }}
    server {{
        listen {address} backlog=1024;
        location / {{
            proxy_pass {scheme}://regions;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 1s;
            proxy_read_timeout 3s;
            proxy_send_timeout 3s;
            proxy_next_upstream error timeout http_502 http_503 http_504 http_429;
            proxy_next_upstream_tries 3;
{tls}        }}
    }}
}}
"#
    )
}

fn tls(site: &Site) -> String {
    let (authority, name) = (site.authority(), certified_name());
    let authority = authority.display();
    format!(
        "            proxy_ssl_verify on;
            proxy_ssl_trusted_certificate {authority};
            proxy_ssl_name {name};
            proxy_ssl_server_name on;
"
    )
}
