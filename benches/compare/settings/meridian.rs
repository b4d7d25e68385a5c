//! Meridian: its defaults, with one worker a core and no access log.

use crate::certificates::{AUTHORITY, CERTIFICATE, KEY, NAME};
use crate::origin::{HEALTH_PATH, Speech};
use crate::row::Viewers;
use crate::site::Site;

pub(super) fn text(site: &Site) -> String {
    let (folder, address, threads) = (site.folder.display(), site.address, site.threads);
    let tls = match site.row.viewers {
        Viewers::Plain => String::new(),
        Viewers::Tls => {
            format!("tls = {{ cert = \"{folder}/{CERTIFICATE}\", key = \"{folder}/{KEY}\" }}\n")
        }
    };
    let (scheme, more) = match site.row.origins {
        Speech::Plain => ("http", String::new()),
        Speech::Http2 => ("http", "http = \"2\"\n".to_owned()),
        Speech::Tls => (
            "https",
            format!("tls = {{ ca = \"{folder}/{AUTHORITY}\", server_name = \"{NAME}\" }}\n"),
        ),
    };
    let origin = site.origin;
    let region = format!("origins = [\"{scheme}://{origin}\"]\n{more}");
    let names: Vec<_> = (0..site.row.regions)
        .map(|number| format!("region-{number}"))
        .collect();
    let regions: String = names
        .iter()
        .map(|name| format!("[region.{name}]\n{region}"))
        .collect();
    let routes: String = site
        .paths()
        .iter()
        .enumerate()
        .map(|(number, path)| {
            format!("[[route]]\nname = \"r{number}\"\npath = \"{path}\"\nregions = {names:?}\n")
        })
        .collect();
    let connections = site.connections;
    let log = if site.row.is_logged {
        format!("path = \"{folder}/access.log\"")
    } else {
        "enabled = false".to_owned()
    };
    format!(
        r#"workers = {threads}
[access_log]
{log}
[[listener]]
address = "{address}"
trusted_peers = ["loopback"]
{tls}[admin]
address = "off"
[probe]
path = "{HEALTH_PATH}"
[limits]
connections_per_worker = {connections}
{regions}{routes}"#
    )
}
