//! A whole multi-region world on one machine: simulated regions as real loopback servers, their
//! faults, and the configuration of a proxy in front of them.

pub(crate) mod control;
pub mod fault;
pub(crate) mod switch;
pub mod region;
mod endpoint;
pub(crate) mod answer;
mod body;
pub mod download;
pub(crate) mod ports;
pub(crate) mod files;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::demo::fault::{ENDPOINTS, Fault};
use crate::demo::region::{RegionSpec, SimulatedRegion};
use crate::demo::switch::{Faults, UnknownRegion};

/// The three regions of `meridian demo`, with the delays a viewer on the east coast of North
/// America would see.
#[must_use]
pub fn default_regions() -> Vec<RegionSpec> {
    [("us-east-1", 5), ("eu-west-1", 40), ("ap-southeast-1", 120)]
        .into_iter()
        .map(|(name, milliseconds)| RegionSpec::with_endpoints(name, milliseconds, ENDPOINTS))
        .collect()
}

/// Simulated regions that run until this is dropped, each on a thread and runtime of its own so
/// that none slows another.
#[derive(Debug)]
pub struct Regions {
    regions: Vec<SimulatedRegion>,
}

impl Regions {
    /// Starts one server per spec; when it returns, all of them accept connections.
    ///
    /// # Errors
    /// When a port cannot be bound or a thread cannot be started.
    pub fn start(specs: &[RegionSpec]) -> io::Result<Self> {
        let regions = specs
            .iter()
            .map(SimulatedRegion::start)
            .collect::<io::Result<_>>()?;
        Ok(Self { regions })
    }

    /// The regions, in the order of their specs.
    #[must_use]
    pub fn all(&self) -> &[SimulatedRegion] {
        &self.regions
    }

    /// Where the first endpoint of the region of this name listens; `None` when there is no such
    /// region.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let region = self.regions.iter().find(|region| region.name() == name)?;
        let port = *region.ports().first()?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// The switches of all regions, to hand to whoever may set faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(self.regions.iter().map(SimulatedRegion::switch).collect())
    }

    /// Sets a fault; [`Fault::None`] heals.
    ///
    /// # Errors
    /// When there is no region of this name; the error names those that exist.
    pub fn set(&self, name: &str, fault: Fault) -> Result<(), UnknownRegion> {
        self.faults().set([name], fault).map(drop)
    }
}
