//! HAProxy.

use crate::certificates::{AUTHORITY, BOTH, NAME};
use crate::origin::Speech;
use crate::row::Viewers;
use crate::site::Site;

pub(super) fn text(site: &Site) -> String {
    let (folder, address, origin) = (site.folder.display(), site.address, site.origin);
    let threads = site.threads;
    let tls = match site.row.viewers {
        Viewers::Plain => String::new(),
        Viewers::Tls => format!(" ssl crt {folder}/{BOTH} alpn h2,http/1.1"),
    };
    let how = match site.row.origins {
        Speech::Plain => String::new(),
        Speech::Http2 => " proto h2".to_owned(),
        Speech::Tls => {
            format!(
                " ssl verify required ca-file {folder}/{AUTHORITY} sni str({NAME}) verifyhost {NAME}"
            )
        }
    };
    format!(
        "global
    maxconn 9000
    nbthread {threads}
    tune.h2.max-concurrent-streams 1000
defaults
    mode http
    timeout client 75s
    timeout http-keep-alive 75s
    timeout connect 1s
    timeout server 30s
    timeout tunnel 75s
frontend viewers
    bind {address} backlog 4096{tls}
    default_backend origins
backend origins
    http-reuse always
    server near {origin} pool-max-conn 2000{how}
"
    )
}
