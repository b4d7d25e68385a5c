//! What is said of a decision, as data.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One decision with every reason; prints as aligned text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The request's method. It plays no part in the choice: [`explain`](crate::decide::explain::explain) leaves it out, and who
    /// knows it may fill it in.
    pub method: Option<String>,
    /// The request's host, as the viewer wrote it.
    pub host: Option<String>,
    /// The request's path as it was matched.
    pub path: String,
    /// The generation of the table that decided.
    pub generation: u64,
    /// Who asks.
    pub viewer: ExplainedViewer,
    /// The route that took the request, if one did.
    pub route: Option<ExplainedRoute>,
    /// What came out.
    pub verdict: ExplainedChoice,
    /// Every region of the table: the ranked ones in order, then the others by name.
    pub regions: Vec<ExplainedRegion>,
}

/// Who asks, and what that counts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedViewer {
    /// The viewer's address.
    pub address: IpAddr,
    /// The country's code, if any source knew it.
    pub country: Option<String>,
    /// Which source: `header`, `database`, `builtin` or `unknown`.
    pub source: String,
    /// What `viewer.unknown` says, where it had to decide: `any`, `refuse` or a country's code.
    pub unknown: Option<String>,
}

/// The route that took the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedRoute {
    /// Its name.
    pub name: String,
    /// Host pattern and path prefix: `*.example.com/v1`.
    pub matches: String,
    /// Its policy's word.
    pub policy: String,
    /// `file:line`.
    pub written: String,
    /// Names of the regions that residency allows; nothing leaves for any other.
    pub permitted: Vec<String>,
    /// The residency lines that hold for this viewer.
    pub residency: Vec<ExplainedReason>,
}

/// A line of the file that decided something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedReason {
    /// What it says: `residency "@eu"`.
    pub says: String,
    /// `file:line`, absent where no line says so.
    pub written: Option<String>,
}

/// What came out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedChoice {
    /// The region the first attempt goes to, unless the request is refused.
    pub region: Option<String>,
    /// The rule's label (`preference`, `latency`, `failover`, `geo`, `weighted`, `fail_open`),
    /// or the refusal's (`no_route`, `unknown_viewer`, `no_region`).
    pub rule: String,
    /// The same in words, with its line.
    pub because: ExplainedReason,
}

/// One region of the table, as this request sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedRegion {
    /// Its name.
    pub name: String,
    /// Its place in the order of attempts, from 1.
    pub rank: Option<usize>,
    /// Why it cannot serve; with a rank, it is the last resort.
    pub out: Option<ExplainedReason>,
    /// `healthy`, `unproven` or `unhealthy`.
    pub health: String,
    /// The operator's word: `auto`, `drained` or `forced`.
    pub admin: String,
    /// Median first byte.
    pub latency_seconds: Option<f64>,
    /// How far first bytes scatter around it.
    pub latency_spread_seconds: Option<f64>,
    /// How long ago it was last measured.
    pub latency_age_seconds: Option<f64>,
    /// From the viewer, on routes that choose by it.
    pub distance_km: Option<f32>,
    /// Its weight, on routes that choose by it.
    pub weight: Option<u32>,
}
