//! HAProxy.

use crate::certificates::{AUTHORITY, BOTH, NAME};
use crate::origin::Speech;
use crate::row::Viewers;
use crate::site::Site;

/// The file of the routes.
pub(super) const MAP: &str = "routes.map";

/// The routes: how paths begin, and the backend.
pub(super) fn map(site: &Site) -> String {
    let paths = site.paths().into_iter();
    paths.map(|path| format!("{path} origins\n")).collect()
}

pub(super) fn text(site: &Site) -> String {
    let (folder, address, origin) = (site.folder.display(), site.address, site.origin);
    let (threads, connections) = (site.threads, site.connections);
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
    let routes = if site.row.routes == 1 {
        "default_backend origins".to_owned()
    } else {
        format!("use_backend %[path,map_beg({folder}/{MAP})]")
    };
    // It wants files for as many connections to origins, which never are as many; and it would
    // close those that wait once viewers have a quarter of the files.
    format!(
        "global
    no strict-limits
    maxconn {connections}
    nbthread {threads}
    tune.pool-low-fd-ratio 90
    tune.pool-high-fd-ratio 95
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
    {routes}
backend origins
    http-reuse always
    server near {origin} pool-max-conn 2000{how}
"
    )
}
