//! Caddy.

use crate::setup::{Setup, Site, certified_name};

pub(super) fn text(site: &Site) -> String {
    let address = site.address;
    let scheme = match site.setup {
        Setup::Http2 => "h2c://",
        _ => "",
    };
    let all = site.endpoints().into_iter();
    let all: Vec<_> = all.map(|(_, at)| format!("{scheme}{at}")).collect();
    let all = all.join(" ");
    let tls = match site.setup {
        Setup::Tls => format!(
            "            tls_server_name {}\n            tls_trust_pool file {}\n",
            certified_name(),
            site.authority().display()
        ),
        _ => String::new(),
    };
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
    reverse_proxy {all} {{
        lb_policy first
        lb_retries 2
        lb_try_duration 10s
        lb_try_interval 10ms
        lb_retry_match {{
            method GET
        }}
        fail_duration 5s
        max_fails 3
        unhealthy_status 5xx 429
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
{tls}        }}
    }}
}}
"
    )
}
