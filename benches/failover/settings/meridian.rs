//! Meridian's own settings: its defaults as far as possible.

use crate::setup::{REGIONS, Setup, Site, Tuning, certified_name};

pub(super) fn text(site: &Site) -> String {
    let address = site.address;
    let regions: String = (0..REGIONS.len())
        .map(|region| one_region(site, region))
        .collect();
    let policy = match site.setup {
        Setup::Ordered => "failover",
        Setup::Halves => "weighted",
        _ => "latency",
    };
    let more = match site.setup {
        Setup::Named => "[probe]\nregion_field = \"region\"\n".to_owned(),
        Setup::Names => format!("[dns]\nservers = [\"{}\"]\n", site.names),
        _ => String::new(),
    };
    let (listener, route) = match site.setup {
        Setup::Countries => (
            "trusted_peers = [\"loopback\"]\n",
            "prefer = { JP = [\"next\"] }\n",
        ),
        Setup::Halves => ("", "weights = { near = 1000, next = 1000, far = 1 }\n"),
        _ => ("", ""),
    };
    let workers = match site.tuning {
        Tuning::Workers(count) => format!("workers = {count}\n"),
        _ => String::new(),
    };
    let tuning = match site.tuning {
        Tuning::Defaults | Tuning::Workers(_) => String::new(),
        Tuning::Shortened => "[timeouts]\nbody_progress = \"3s\"\nresume_after = \"200ms\"\n\
            [failback]\nhold_down = \"2s\"\nramp = \"2s\"\n"
            .to_owned(),
        Tuning::Ramp(seconds) => format!("[failback]\nhold_down = \"2s\"\nramp = \"{seconds}s\"\n"),
    };
    format!(
        r#"{workers}[[listener]]
address = "{address}"
{listener}[admin]
address = "off"
{regions}{more}{tuning}[[route]]
name = "all"
path = "/"
regions = ["near", "next", "far"]
policy = "{policy}"
{route}"#
    )
}

fn one_region(site: &Site, region: usize) -> String {
    let scheme = if site.setup == Setup::Tls {
        "https"
    } else {
        "http"
    };
    let origins: Vec<_> = site
        .endpoints()
        .into_iter()
        .filter(|(of, _)| *of == region)
        .map(|(_, at)| format!("\"{scheme}://{at}\""))
        .collect();
    let more = match site.setup {
        Setup::Tls => format!(
            "tls = {{ ca = \"{}\", server_name = \"{}\" }}\n",
            site.authority().display(),
            certified_name()
        ),
        Setup::Http2 => "http = \"2\"\n".to_owned(),
        _ => String::new(),
    };
    let (name, origins) = (REGIONS[region], origins.join(", "));
    format!("[region.{name}]\norigins = [{origins}]\n{more}")
}
