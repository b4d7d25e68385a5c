//! Where the regions are, and what lies between them and the proxy.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::setup::{Setup, Tuning};

/// What a scene is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topology {
    pub(crate) setup: Setup,
    /// How long each region takes to answer.
    pub(crate) delays: [Duration; 3],
    pub(crate) network: Network,
    pub(crate) tuning: Tuning,
}

/// What lies between the proxy and the regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Nothing.
    Direct,
    /// One in a hundred segments from and to the preferred region gets lost.
    Lossy,
    /// A stock nginx in front of each region, 20 ms away there and back.
    Nginx,
}

impl Network {
    /// How long a segment is under way, one way.
    pub(crate) fn delay(self) -> Duration {
        match self {
            Self::Nginx => Duration::from_millis(10),
            Self::Direct | Self::Lossy => Duration::ZERO,
        }
    }

    /// The share of segments that get lost.
    pub(crate) fn loss(self) -> f64 {
        if self == Self::Lossy { 0.01 } else { 0.0 }
    }

    /// Whether it lies before this region.
    pub(crate) fn is_before(self, region: usize) -> bool {
        match self {
            Self::Direct => false,
            Self::Lossy => region == 0,
            Self::Nginx => true,
        }
    }
}

impl Topology {
    /// The usual regions of `setup`, right behind the proxy.
    pub(crate) fn of(setup: Setup, tuning: Tuning) -> Self {
        Self {
            setup,
            delays: setup.delays(),
            network: Network::Direct,
            tuning,
        }
    }

    /// How long a region takes to answer the proxy.
    pub(crate) fn delay(self, region: usize) -> Duration {
        self.delays[region] + self.network.delay() * 2
    }

    /// Whether there can be such regions, and the proxy can have them.
    pub(crate) fn suits(self, proxy: Proxy) -> bool {
        let is_front_there = self.network != Network::Nginx || Proxy::Nginx.version().is_some();
        is_front_there && self.setup.suits(proxy)
    }
}
