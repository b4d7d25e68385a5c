//! HAProxy.

use crate::setup::{REGIONS, Setup, Site, certified_name};

pub(super) fn text(site: &Site) -> String {
    let address = site.address;
    let check = "check inter 1s fall 2 rise 2 observe layer7 error-limit 3 on-error mark-down";
    let how = how(site);
    let servers: String = (1..)
        .zip(site.endpoints())
        .map(|(number, (region, at))| {
            let spare = if site.rank(region) == 0 {
                ""
            } else {
                " backup"
            };
            let name = REGIONS[region];
            if site.setup == Setup::Names {
                let most = site.regions[region].len();
                format!("    server-template {name} {most} {at} {check}{how}{spare}\n")
            } else {
                format!("    server {name}{number} {at} {check}{how}{spare}\n")
            }
        })
        .collect();
    let resolvers = resolvers(site);
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
    option httpchk
    http-check send meth GET uri /health ver HTTP/1.1 hdr Host bench.example
    http-check expect status 200
    http-reuse always
{servers}{resolvers}"
    )
}

/// How servers are reached.
fn how(site: &Site) -> String {
    let name = certified_name();
    match site.setup {
        Setup::Tls => format!(
            " ssl verify required ca-file {} sni str({name}) check-sni {name} verifyhost {name}",
            site.authority().display()
        ),
        Setup::Http2 => " proto h2 check-proto h2".to_owned(),
        Setup::Names => " resolvers ours resolve-prefer ipv4 init-addr none".to_owned(),
        _ => String::new(),
    }
}

/// The last good answer is kept.
fn resolvers(site: &Site) -> String {
    if site.setup != Setup::Names {
        return String::new();
    }
    format!(
        "resolvers ours
    nameserver ours {}
    accepted_payload_size 8192
    timeout resolve 1s
    timeout retry 1s
    hold valid 1s
    hold nx 1h
    hold other 1h
    hold refused 1h
    hold timeout 1h
    hold obsolete 1s
",
        site.names
    )
}
