//! Caddy.

use crate::certificates::{AUTHORITY, CERTIFICATE, KEY, NAME};
use crate::origin::Speech;
use crate::row::Viewers;
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
{tls}    reverse_proxy {to}{origin} {{
        transport http {{
            keepalive_idle_conns_per_host 2048
{verify}        }}
    }}
}}
"
    )
}
