//! The configuration of each proxy: tuned for failing over, the first region preferred.
//!
//! Wherever the proxy can: health checks every second, checks on live traffic, another region on
//! connect failures, time-outs and 5xx for GET, never a second try of a POST that was sent,
//! connect time-out 1 s, first byte 3 s.

mod caddy;
mod envoy;
mod haproxy;
mod meridian;
mod nginx;
mod origin;

pub(crate) use origin::text as origin;

use crate::proxy::Proxy;
use crate::setup::Site;

/// What differs from Meridian's defaults, for the head of the table.
pub(crate) const MERIDIAN: &str = "defaults, but failback hold 2 s and ramp 2 s, bodies may stand still for 3 s and downloads for 200 ms until they are resumed; where the row needs \
    it also HTTP/2, a private authority, a name server, or the region's name in its health; policy \
    failover for the region that comes back 10 times slower";

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
