//! How a route chooses among the regions it may use.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::country::CountryGroup;
use crate::model::id::RegionId;
use crate::table::written::Written;

/// How to rank the regions that are left after every filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The lowest measured latency, with the switch margin.
    Latency,
    /// In the order written.
    Failover,
    /// The nearest to the viewer; by latency where the viewer's place is unknown.
    Geo,
    /// By weight, by a stable hash of the viewer's address; weights beside their regions, all
    /// above zero.
    Weighted(Vec<(RegionId, u32)>),
}

impl Policy {
    /// The word in the file.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Failover => "failover",
            Self::Geo => "geo",
            Self::Weighted(_) => "weighted",
        }
    }
}

/// Regions to try first for some countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// For whom.
    pub group: CountryGroup,
    /// Which, in order.
    pub regions: Vec<RegionId>,
    /// Where it was written.
    pub written: Written,
}

/// How far a route goes to get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RetryPolicy {
    /// Attempts at most, the first included.
    pub attempts: u8,
    /// Whether a request with an `Idempotency-Key` may be sent again like a PUT.
    pub idempotency_key: bool,
    /// Whether gRPC requests may be sent again on UNAVAILABLE or a missing first byte.
    pub grpc: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 3,
            idempotency_key: false,
            grpc: false,
        }
    }
}

/// Time limits towards the origins, of one route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UpstreamTimeouts {
    /// TCP towards an origin, and then TLS, each.
    pub connect: Duration,
    /// From sending a request to the response head, one attempt; at most `request`.
    pub first_byte: Duration,
    /// All attempts together, until the response head.
    pub request: Duration,
    /// A body that stands still, either way.
    pub body_progress: Duration,
    /// A download that stands still for so long is asked for from another region, where that can
    /// go on with it; whichever sends the next byte first goes on.
    pub resume_after: Duration,
    /// An unused connection to an origin. Shorter than an ALB (60 s) keeps it.
    #[serde(rename = "upstream_idle")]
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    /// CloudFront gives up after 30 s and an ALB closes idle connections after 60 s: we must be
    /// done, and have let go, before either.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(5),
            request: Duration::from_secs(30),
            body_progress: Duration::from_secs(15),
            // Three packets lost in a row cost TCP less (its time-out begins at 200 ms and
            // doubles), a player's buffer holds more, and an origin that paces a download sends
            // oftener.
            resume_after: Duration::from_secs(1),
            idle: Duration::from_secs(50),
        }
    }
}
