//! What is told to the writer of beliefs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::apply::saved::SavedBeliefs;
use crate::decide::snapshot::AdminState;
use crate::health::traffic_count::TrafficCount;
use crate::model::id::{EndpointId, RegionId, RouteId};
use crate::model::outcome::{ErrorKind, ProbeOutcome};
use crate::model::viewer::UnknownViewer;
use crate::table::RoutingTable;

/// Something that changes what we believe.
///
/// What an operator says names its region, so that a reload in between cannot make it mean another.
/// The others carry numbers, of endpoints or of one generation: they come by the thousand from
/// workers, probes and resolvers of this process, and each is ignored once its endpoint or its
/// generation is gone. None of them is kept; what is (changes, the log, saved state) says all by
/// name.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new table was loaded. Origins that were there before, spoken to alike, keep their
    /// endpoints, health and latency; the operator's word on a region stays by its name.
    Table {
        /// The table.
        table: Arc<RoutingTable>,
        /// What to do with unknown viewers.
        unknown: UnknownViewer,
    },
    /// A name was resolved, or an address was written. Events of an older generation are ignored.
    Resolved {
        /// The table's generation the resolver works for.
        generation: u64,
        /// The region.
        region: RegionId,
        /// Which of its origins.
        origin: u16,
        /// All its addresses now; an empty answer changes nothing.
        addresses: Vec<SocketAddr>,
    },
    /// A probe ended.
    Probed {
        /// Of which endpoint; ignored when it is no longer known.
        endpoint: EndpointId,
        /// How.
        outcome: ProbeOutcome,
    },
    /// A worker saw several requests in a row fail at an endpoint.
    TrafficFailed {
        /// Which; ignored when it is no longer known.
        endpoint: EndpointId,
        /// How the last of them failed.
        kind: ErrorKind,
        /// How many in a row.
        in_a_row: u32,
    },
    /// A worker saw several answers in a row come later from an endpoint than they usually do,
    /// or later than a sibling region's.
    TrafficLate {
        /// Which; ignored when it is no longer known.
        endpoint: EndpointId,
        /// How late.
        lates: LateAnswers,
    },
    /// What one worker saw in about a second, by route and region.
    TrafficWindow {
        /// The table's generation that routes and regions are numbered by; others are ignored.
        generation: u64,
        /// At most one for each route and region that had requests.
        counts: Vec<WindowCount>,
    },
    /// A request failed at an endpoint in a way that calls for a probe at once.
    Suspected {
        /// Which; ignored when it is no longer known.
        endpoint: EndpointId,
    },
    /// A probation request was answered.
    ProbationAnswered {
        /// Which; ignored when it is no longer known.
        endpoint: EndpointId,
        /// Whether in time, whole and without a gateway's failure.
        good: bool,
    },
    /// The operator spoke.
    Operator {
        /// About which region, by name.
        region: Arc<str>,
        /// What.
        state: AdminState,
    },
    /// The operator agrees that traffic returns to a region that waits for it, or wants the rest
    /// of its hold-down to be left out.
    Confirm {
        /// The region's name.
        region: Arc<str>,
    },
    /// What an earlier process believed is taken over: right after the first table, before there
    /// is anything newer.
    Restored {
        /// What it believed.
        saved: Arc<SavedBeliefs>,
        /// How long ago.
        away: Duration,
        /// How old the last good answers of name servers may be.
        keep_names: Duration,
    },
    /// Time passed: latencies grow old and hold-downs end though nothing else happens. Due about
    /// once a second; changes nothing, and costs no revision, while all stays as it was.
    Tick,
}

impl Event {
    /// What kind of evidence it is, as a metric label and log value.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Table { .. } => "reload",
            Self::Resolved { .. } => "dns",
            Self::Probed { .. } => "probe",
            Self::TrafficFailed { .. } => "requests_failed",
            Self::TrafficLate { .. } => "requests_late",
            Self::TrafficWindow { .. } => "requests_compared",
            Self::Suspected { .. } => "suspicion",
            Self::ProbationAnswered { .. } => "probation",
            Self::Operator { .. } | Self::Confirm { .. } => "operator",
            Self::Restored { .. } => "restart",
            Self::Tick => "time",
        }
    }
}

/// Late answers of one endpoint in a row, as one worker saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateAnswers {
    /// How many.
    pub in_a_row: u32,
    /// Whether another region or endpoint did better with the same requests.
    pub compared: bool,
    /// How long it has been so, without an answer in time.
    pub lasted: Duration,
    /// Whether answers came meanwhile, late as they were, but within `[hedge] max_delay`.
    pub answered: bool,
}

/// Requests of one route in one region, as one worker saw them for about a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowCount {
    /// The route.
    pub route: RouteId,
    /// The region.
    pub region: RegionId,
    /// What became of them.
    pub count: TrafficCount,
    /// The median of the newest first bytes, if any came.
    pub first_byte: Option<Duration>,
}
