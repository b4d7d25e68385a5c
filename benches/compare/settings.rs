//! The configuration of each proxy: one origin, no access log, nothing that the row does not need.
//! Meridian alone has its health checks, its second region and its viewer's country on.

mod caddy;
mod envoy;
mod haproxy;
mod meridian;
mod nginx;

use crate::proxy::Proxy;
use crate::site::Site;

/// The settings themselves.
pub(crate) fn text(proxy: Proxy, site: &Site) -> String {
    match proxy {
        Proxy::Meridian => meridian::text(site),
        Proxy::Nginx => nginx::text(site),
        Proxy::Haproxy => haproxy::text(site),
        Proxy::Envoy => envoy::text(site),
        Proxy::Caddy => caddy::text(site),
    }
}
