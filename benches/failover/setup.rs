//! What kind of regions a row needs, and where they are.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::proxy::Proxy;

/// The names of the regions, the preferred one first.
pub(crate) const REGIONS: [&str; 3] = ["near", "next", "far"];
/// What the names of all origins end with, for certificates and the name server.
pub(crate) const DOMAIN: &str = "bench.example";
/// Addresses of the preferred region when it is found by name.
pub(crate) const ADDRESSES: usize = 60;
/// Addresses that a region has at the same time.
pub(crate) const AT_ONCE: usize = 3;

/// A kind of regions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// One endpoint each, plain HTTP/1.1.
    Plain,
    /// Plain, and Meridian's policy is the order of the regions, as it is the others' anyway.
    Ordered,
    /// Plain, and health is to name the region.
    Named,
    /// Three endpoints in the preferred region.
    Endpoints,
    /// Plain, and the client also downloads.
    Downloads,
    /// TLS by certificates of a private authority.
    Tls,
    /// HTTP/2 without TLS, by prior knowledge.
    Http2,
    /// Found by name.
    Names,
    /// The first two are nearly as far, and vary.
    Close,
    /// Plain, and viewers have countries: those of Japan prefer the second region.
    Countries,
    /// Plain, and the first two regions have equal weights.
    Halves,
    /// Plain, and when the fault begins the client asks 1,000 times at once.
    Burst,
}

impl Setup {
    /// How long each region takes to answer.
    pub(crate) fn delays(self) -> [Duration; 3] {
        let millis = match self {
            Self::Close => [20, 23, 120],
            _ => [5, 40, 120],
        };
        millis.map(Duration::from_millis)
    }

    /// Whether regions speak HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        self == Self::Http2
    }

    /// Whether traffic may begin elsewhere than in the first region.
    pub(crate) fn has_choice(self) -> bool {
        matches!(self, Self::Close | Self::Halves)
    }

    /// How much earlier or later an answer may be.
    pub(crate) fn noise(self) -> Duration {
        match self {
            Self::Close => Duration::from_millis(5),
            _ => Duration::ZERO,
        }
    }

    /// How many endpoints each region has.
    pub(crate) fn endpoints(self) -> [usize; 3] {
        match self {
            Self::Endpoints => [AT_ONCE, 1, 1],
            Self::Names => [ADDRESSES, 1, 1],
            _ => [1, 1, 1],
        }
    }

    /// Whether the proxy can have such regions and fail over between them.
    pub(crate) fn suits(self, proxy: Proxy) -> bool {
        match self {
            Self::Named | Self::Countries => proxy == Proxy::Meridian,
            Self::Http2 => proxy != Proxy::Nginx,
            // The free nginx resolves the servers of an upstream once; Caddy's dynamic upstreams
            // are neither ordered nor checked.
            Self::Names => !matches!(proxy, Proxy::Nginx | Proxy::Caddy),
            _ => true,
        }
    }
}

/// How much of Meridian's defaults a row leaves as they are; the others' settings are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tuning {
    /// All.
    Defaults,
    /// A failback short enough for a bad day of a few seconds, and little patience with bodies.
    Shortened,
    /// All, with so many workers.
    Workers(u8),
    /// A failback that holds for 2 s and ramps for so many.
    Ramp(u64),
}

/// Where everything is, for the settings of a proxy.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) tuning: Tuning,
    /// Where the proxy is to listen.
    pub(crate) address: SocketAddr,
    /// For its files.
    pub(crate) folder: PathBuf,
    /// The endpoints of each region.
    pub(crate) regions: [Vec<SocketAddr>; 3],
    /// The name server.
    pub(crate) names: SocketAddr,
}

impl Site {
    /// The endpoints as the proxy is told of them, `host:port`, with the number of their region.
    pub(crate) fn endpoints(&self) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        for (region, addresses) in self.regions.iter().enumerate() {
            if self.setup == Setup::Names {
                let port = addresses.first().map_or(0, SocketAddr::port);
                all.push((region, format!("{}.{DOMAIN}:{port}", REGIONS[region])));
            } else {
                all.extend(
                    addresses
                        .iter()
                        .map(|address| (region, address.to_string())),
                );
            }
        }
        all
    }

    /// How far down a region is in the order of regions.
    pub(crate) fn rank(&self, region: usize) -> usize {
        match self.setup {
            Setup::Halves => region.saturating_sub(1),
            _ => region,
        }
    }

    /// The file of the authority that signs the certificates of the regions.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }
}

/// The name in the certificates of all regions.
pub(crate) fn certified_name() -> String {
    format!("region.{DOMAIN}")
}
