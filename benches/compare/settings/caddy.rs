//! Caddy.

use crate::certificates::{AUTHORITY, CERTIFICATE, KEY, NAME};
use crate::origin::Speech;
use crate::row::{Load, Viewers};
use crate::site::Site;

pub(super) fn text(site: &Site) -> String {
    let (folder, address, origin) = (site.folder.display(), site.address, site.origin);
    let (ip, port) = (address.ip(), address.port());
    let (scheme, tls) = match site.row.viewers {
        Viewers::Plain => ("http", String::new()),
        Viewers::Tls => (
            "https",
            format!("    tls {folder}/{CERTIFICATE} {folder}/{KEY}\n"),
        ),
    };
    // Messages are to leave at once; 0 is the default.
    let flush = if matches!(site.row.load, Load::Streams { .. }) {
        "-1"
    } else {
        "0"
    };
    let (to, verify) = match site.row.origins {
        Speech::Plain => ("", String::new()),
        Speech::Http2 => ("h2c://", String::new()),
        Speech::Tls => (
            "",
            format!(
                "            tls_server_name {NAME}\n            \
                 tls_trust_pool file {folder}/{AUTHORITY}\n"
            ),
        ),
    };
    // One matcher of all paths: with a block for each route, each would keep connections to
    // origins of its own.
    let (routes, matched) = if site.row.routes == 1 {
        (String::new(), "")
    } else {
        let paths: String = site
            .paths()
            .iter()
            .map(|path| format!(" {path}*"))
            .collect();
        (format!("    @routes path{paths}\n"), " @routes")
    };
    format!(
        "{{
    admin off
    auto_https off
    persist_config off
    default_sni {NAME}
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2
    }}
}}
{scheme}://:{port} {{
    bind {ip}
{tls}{routes}    reverse_proxy{matched} {to}{origin} {{
        flush_interval {flush}
        transport http {{
            keepalive_idle_conns_per_host 2048
{verify}        }}
    }}
}}
"
    )
}
