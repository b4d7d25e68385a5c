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
[region.near]
{region}[region.far]
{region}[[route]]
name = "all"
path = "/"
regions = ["near", "far"]
"#
    )
}
