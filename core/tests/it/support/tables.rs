//! Small tables.

use std::sync::Arc;

use meridian_core::table::origin::{Origin, OriginHost, ProbeSpec, Region, UpstreamSpec};
use meridian_core::table::{RoutingTable, Written};

/// A region with one plain origin at `host` and `port`.
pub(crate) fn region(name: &str, host: OriginHost, port: u16, probe: ProbeSpec) -> Region {
    Region {
        name: name.into(),
        origins: vec![Origin {
            tls: false,
            host,
            port,
        }],
        upstream: UpstreamSpec::default(),
        place: None,
        probe,
        written: Written::default(),
    }
}

/// A table of `regions`, sorted by name, without routes.
pub(crate) fn table(regions: Vec<Region>) -> Arc<RoutingTable> {
    Arc::new(RoutingTable::new(Vec::new(), regions, Vec::new()))
}
