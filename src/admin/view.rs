//! The JSON that the admin server answers and the command line reads: one shape for both.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::apply::Transition;
use crate::decide::snapshot::{AdminState, EndpointState, RegionState, Snapshot};
use crate::health::failback::{Failback, Stage};
use crate::health::state::Health;
use crate::model::id::RegionId;
use crate::model::outcome::ProbeOutcome;
use crate::model::time::Timestamp;
use crate::table::route::{HostPattern, Route};

/// What a running proxy believes, in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// Version of the program.
    pub version: String,
    /// Counts reloads, from 1.
    pub generation: u64,
    /// Counts every published change.
    pub revision: u64,
    /// Since the process started.
    pub uptime_seconds: f64,
    /// Whether it is leaving.
    pub draining: bool,
    /// Whether it takes traffic.
    pub ready: bool,
    /// How many routes there are.
    pub routes: usize,
    /// All regions, by name.
    pub regions: Vec<RegionView>,
    /// The last reload; absent while there was none.
    pub last_reload: Option<ReloadView>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionView {
    /// Its name.
    pub name: String,
    /// `healthy`, `unproven` or `unhealthy`.
    pub health: String,
    /// The operator's word: `auto`, `drained` or `forced`.
    pub admin: String,
    /// Whether requests go there.
    pub serving: bool,
    /// How far it is on its way back: `full`, `down`, `held`, `ramping` or `awaiting_confirm`.
    pub stage: String,
    /// Percent of the viewers it may get, as far as coming back is concerned.
    pub share_percent: u8,
    /// How long the hold still lasts; absent when there is none.
    pub hold_left_seconds: Option<f64>,
    /// The estimate that ranks it; absent while unknown.
    pub latency_seconds: Option<f64>,
    /// The service as written.
    pub origins: Vec<String>,
    /// Every address known.
    pub endpoints: Vec<EndpointView>,
}

/// One address of a region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// Where to dial.
    pub address: SocketAddr,
    /// The URL it belongs to.
    pub origin: String,
    /// `healthy`, `unproven` or `unhealthy`.
    pub health: String,
    /// Median first-byte time; absent while unknown.
    pub latency_seconds: Option<f64>,
    /// How far samples stray from it.
    pub spread_seconds: Option<f64>,
    /// The last probe: `passed`, or why it failed; absent before the first.
    pub last_probe: Option<String>,
    /// How long ago that was.
    pub probed_seconds_ago: Option<f64>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteView {
    /// Its name.
    pub name: String,
    /// `api.example.com`, `*.example.com` or `*`.
    pub host: String,
    /// The path prefix.
    pub path: String,
    /// How it ranks.
    pub policy: String,
    /// Its regions in the order written.
    pub regions: Vec<String>,
    /// Those of them that requests may go to now.
    pub serving: Vec<String>,
    /// `file:line`.
    pub written: String,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReloadView {
    /// Whether the new configuration serves.
    pub successful: bool,
    /// When, in seconds since 1970.
    pub at_unix_seconds: f64,
    /// One line for people.
    pub message: String,
}

/// A change of belief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// When, in seconds since 1970.
    pub at_unix_seconds: f64,
    /// `endpoint`, `region`, `kept`, `shared_fate`, `leader`, `failback`, `addresses` or
    /// `operator`.
    pub kind: String,
    /// Whose.
    pub region: String,
    /// The endpoint, where it concerns one.
    pub address: Option<SocketAddr>,
    /// Before.
    pub from: Option<String>,
    /// After.
    pub to: Option<String>,
    /// Why, or what else there is to say.
    pub cause: Option<String>,
}

impl RegionView {
    /// All regions of a snapshot, by name.
    #[must_use]
    pub fn all(snapshot: &Snapshot, now: Timestamp) -> Vec<Self> {
        let regions = snapshot
            .table
            .regions
            .iter()
            .zip(&snapshot.regions)
            .enumerate();
        regions
            .map(|(index, (region, state))| {
                let urls: Vec<String> = region.origins.iter().map(|o| o.url()).collect();
                Self {
                    name: region.name.to_string(),
                    health: state.health.label().to_owned(),
                    admin: admin_label(state.admin).to_owned(),
                    serving: snapshot.serving.contains(RegionId::at(index)),
                    stage: stage(state).label().to_owned(),
                    share_percent: stage(state).share(),
                    hold_left_seconds: match stage(state) {
                        Stage::Held { until } => Some(until.since(now).as_secs_f64()),
                        _ => None,
                    },
                    latency_seconds: latency_seconds(state, now),
                    endpoints: state
                        .endpoints
                        .iter()
                        .map(|e| endpoint(e, &urls, now))
                        .collect(),
                    origins: urls,
                }
            })
            .collect()
    }
}

/// The region's stage on the table's own way back.
fn stage(state: &RegionState) -> Stage {
    state
        .failback
        .first()
        .map(Failback::stage)
        .unwrap_or_default()
}

/// The latency that ranks a region, in seconds, while it is known.
#[must_use]
pub fn latency_seconds(state: &RegionState, now: Timestamp) -> Option<f64> {
    state
        .estimate(now)
        .map(|estimate| estimate.median.as_secs_f64())
}

fn endpoint(state: &EndpointState, urls: &[String], now: Timestamp) -> EndpointView {
    let estimate = state.latency.estimate(now);
    let probed = state.probed.as_ref();
    EndpointView {
        address: state.address,
        origin: urls
            .get(usize::from(state.origin))
            .cloned()
            .unwrap_or_default(),
        health: state.health.label().to_owned(),
        latency_seconds: estimate.map(|estimate| estimate.median.as_secs_f64()),
        spread_seconds: estimate.map(|estimate| estimate.spread.as_secs_f64()),
        last_probe: probed.map(|(_, outcome)| match outcome {
            ProbeOutcome::Passed { .. } => "passed".to_owned(),
            ProbeOutcome::Failed(failure) => failure.to_string(),
        }),
        probed_seconds_ago: probed.map(|(at, _)| now.since(*at).as_secs_f64()),
    }
}

/// The operator's word on a region.
#[must_use]
pub fn admin_label(state: AdminState) -> &'static str {
    match state {
        AdminState::Auto => "auto",
        AdminState::Drained => "drained",
        AdminState::Forced => "forced",
    }
}

impl RouteView {
    /// All routes of a snapshot, in the order of the file.
    #[must_use]
    pub fn all(snapshot: &Snapshot) -> Vec<Self> {
        snapshot
            .table
            .routes
            .iter()
            .map(|route| Self::of(snapshot, route))
            .collect()
    }

    fn of(snapshot: &Snapshot, route: &Route) -> Self {
        let name = |id: &RegionId| snapshot.table.region(*id).name.to_string();
        let serving = route
            .order
            .iter()
            .filter(|id| snapshot.serving.contains(**id));
        Self {
            name: route.name.to_string(),
            host: match &route.host {
                HostPattern::Exact(host) => host.clone(),
                HostPattern::Suffix(suffix) => format!("*.{suffix}"),
                HostPattern::Any => "*".to_owned(),
            },
            path: route.path.clone(),
            policy: route.policy.label().to_owned(),
            regions: route.order.iter().map(name).collect(),
            serving: serving.map(name).collect(),
            written: snapshot.table.place(route.written),
        }
    }
}

/// What it means that all regions fell together, or no longer do.
fn shared_fate(began: bool) -> &'static str {
    if began {
        "all regions fell together, so the fault is most likely on this side; none is out"
    } else {
        "a region is well again"
    }
}

impl EventView {
    /// A transition, `at` since 1970-01-01 UTC.
    #[must_use]
    pub fn of(transition: &Transition, at: Duration) -> Self {
        let event = |kind: &str, region: &str| Self {
            at_unix_seconds: at.as_secs_f64(),
            kind: kind.to_owned(),
            region: region.to_owned(),
            address: None,
            from: None,
            to: None,
            cause: None,
        };
        let health = |health: &Health| Some(health.label().to_owned());
        match transition {
            Transition::Endpoint {
                region,
                address,
                from,
                to,
                cause,
            } => Self {
                address: Some(*address),
                from: health(from),
                to: health(to),
                cause: Some(cause.clone()),
                ..event("endpoint", region)
            },
            Transition::Region {
                region,
                from,
                to,
                cause,
            } => Self {
                from: health(from),
                to: health(to),
                cause: Some(cause.clone()),
                ..event("region", region)
            },
            Transition::Leader {
                region,
                before,
                cause,
            } => Self {
                cause: Some(cause.clone()),
                from: Some(before.to_string()),
                to: Some(region.to_string()),
                ..event("leader", region)
            },
            Transition::Failback {
                region,
                stage,
                cause,
            } => Self {
                cause: Some(cause.clone()),
                to: Some(match stage {
                    Stage::Ramping { share, .. } => format!("ramping at {share} %"),
                    stage => stage.label().to_owned(),
                }),
                ..event("failback", region)
            },
            Transition::Kept { region, cause } => Self {
                cause: Some(cause.clone()),
                ..event("kept", region)
            },
            Transition::SharedFate { began } => Self {
                to: Some(if *began { "began" } else { "ended" }.to_owned()),
                cause: Some(shared_fate(*began).to_owned()),
                ..event("shared_fate", "")
            },
            Transition::Addresses {
                region,
                added,
                removed,
                cause,
            } => Self {
                cause: Some(format!("{added} added, {removed} removed: {cause}")),
                ..event("addresses", region)
            },
            Transition::Operator {
                region,
                state,
                cause,
            } => Self {
                cause: Some(cause.clone()),
                to: Some(admin_label(*state).to_owned()),
                ..event("operator", region)
            },
        }
    }
}
