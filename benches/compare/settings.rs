//! The configuration of each proxy: one origin, no access log, nothing that the row does not need.
//! Meridian alone has its health checks, its second region and its viewer's country on.

mod caddy;
mod envoy;
mod haproxy;
mod meridian;
mod nginx;

use std::fs;
use std::io;
use std::path::Path;

use crate::proxy::Proxy;
use crate::site::Site;

/// Writes the settings to this file, and what they name beside it.
pub(crate) fn write(proxy: Proxy, site: &Site, file: &Path) -> io::Result<()> {
    let text = match proxy {
        Proxy::Meridian => meridian::text(site),
        Proxy::Nginx => nginx::text(site),
        Proxy::Haproxy => {
            fs::write(site.folder.join(haproxy::MAP), haproxy::map(site))?;
            haproxy::text(site)
        }
        Proxy::Envoy => envoy::text(site),
        Proxy::Caddy => caddy::text(site),
    };
    fs::write(file, text)
}
