//! nginx.

use crate::certificates::{AUTHORITY, CERTIFICATE, KEY, NAME};
use crate::origin::Speech;
use crate::row::{Load, Viewers};
use crate::site::Site;

pub(super) fn text(site: &Site) -> String {
    let (folder, address, origin) = (site.folder.display(), site.address, site.origin);
    let tls = match site.row.viewers {
        Viewers::Plain => String::new(),
        Viewers::Tls => format!(
            "ssl_protocols TLSv1.2 TLSv1.3;\n        ssl_certificate {folder}/{CERTIFICATE};\n        \
             ssl_certificate_key {folder}/{KEY};\n        ssl_session_cache shared:tls:10m;"
        ),
    };
    let how = match site.row.viewers {
        Viewers::Plain => "",
        Viewers::Tls => " ssl http2",
    };
    let (scheme, verify) = match site.row.origins {
        Speech::Plain | Speech::Http2 => ("http", String::new()),
        Speech::Tls => (
            "https",
            format!(
                "proxy_ssl_verify on;\n        \
                 proxy_ssl_trusted_certificate {folder}/{AUTHORITY};\n        \
                 proxy_ssl_name {NAME};\n        proxy_ssl_server_name on;"
            ),
        ),
    };
    let workers = site.threads;
    let locations = locations(site, scheme);
    let log = if site.row.is_logged {
        format!("{folder}/access.log")
    } else {
        "off".to_owned()
    };
    format!(
        r#"daemon off;
worker_processes {workers};
worker_rlimit_nofile 65536;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 32768; }}
http {{
    access_log {log};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    client_body_buffer_size 128k;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream origin {{
        server {origin};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address}{how} backlog=4096;
        {tls}
        http2_max_concurrent_streams 1000;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
        proxy_max_temp_file_size 0;
        {verify}
{locations}    }}
}}
"#
    )
}

/// The routes; what they have in common is said once, of the server.
fn locations(site: &Site, scheme: &str) -> String {
    let pass = if matches!(site.row.load, Load::Streams { .. }) {
        "grpc_pass grpc".to_owned()
    } else {
        format!("proxy_pass {scheme}")
    };
    let paths = site.paths().into_iter();
    paths
        .map(|path| format!("        location {path} {{ {pass}://origin; }}\n"))
        .collect()
}
