//! A whole multi-region world on one machine: simulated regions as real loopback servers, their
//! faults, and the configuration of a proxy in front of them.

pub mod control;
pub mod fault;
pub mod ports;
pub mod region;
pub mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::demo::fault::{Fault, Faults};
use crate::demo::region::{Region, RegionSpec};

/// The three regions of `meridian demo`, with the delays a viewer on the east coast of North
/// America would see.
#[must_use]
pub fn default_regions() -> Vec<RegionSpec> {
    [("us-east-1", 5), ("eu-west-1", 40), ("ap-southeast-1", 120)]
        .into_iter()
        .map(|(name, milliseconds)| RegionSpec::new(name, milliseconds))
        .collect()
}

/// Simulated regions that run until this is dropped, each on a thread and runtime of its own so
/// that none slows another.
#[derive(Debug)]
pub struct Regions {
    regions: Vec<Region>,
}

impl Regions {
    /// Starts one server per spec; when it returns, all of them accept connections.
    ///
    /// # Errors
    /// When a port cannot be bound or a thread cannot be started.
    pub fn start(specs: &[RegionSpec]) -> io::Result<Self> {
        let regions = specs.iter().map(Region::start).collect::<io::Result<_>>()?;
        Ok(Self { regions })
    }

    /// The regions, in the order of their specs.
    #[must_use]
    pub fn all(&self) -> &[Region] {
        &self.regions
    }

    /// Where the region of this name listens; `None` when there is no such region.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let region = self.regions.iter().find(|region| region.name() == name)?;
        Some(SocketAddr::from((Ipv4Addr::LOCALHOST, region.port())))
    }

    /// The switches of all regions, to hand to whoever may set faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::new(self.regions.iter().map(Region::switch).collect())
    }

    /// Sets a fault; [`Fault::None`] heals.
    ///
    /// # Errors
    /// When there is no region of this name; the error names those that exist.
    pub fn set(&self, name: &str, fault: Fault) -> Result<(), fault::UnknownRegion> {
        self.faults().set(name, fault)
    }
}
