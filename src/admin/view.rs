//! The JSON that the admin server answers and the command line reads: one shape for both.

mod event;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use meridian_core::apply::{Beliefs, LastChange, RegionState};
use meridian_core::decide::snapshot::{EndpointState, best_estimate};
use meridian_core::health::failback::{Failback, Stage};
use meridian_core::health::rise_fall::EjectedBy;
use meridian_core::model::id::{RegionId, RouteId};
use meridian_core::model::outcome::ProbeOutcome;
use meridian_core::model::time::Timestamp;
use meridian_core::table::RoutingTable;
use meridian_core::table::route::{HostPattern, Route};

pub use crate::admin::view::event::{EventView, HistoryView};

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
    /// Whether all regions fell together, so that none is out.
    pub correlated_failure: bool,
    /// How many routes there are.
    pub routes: usize,
    /// All regions, by name.
    pub regions: Vec<RegionView>,
    /// The last reload; absent while there was none.
    pub last_reload: Option<ReloadView>,
}

/// One region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RegionView {
    /// Its name.
    pub name: String,
    /// `healthy`, `unproven` or `unhealthy`.
    pub health: String,
    /// The operator's word: `auto`, `drained` or `forced`.
    pub admin: String,
    /// Whether requests go there.
    pub serving: bool,
    /// How far its return is: `full`, `down`, `on_probation`, `hold_down`, `ramping` or
    /// `awaiting_confirm`.
    pub stage: String,
    /// Percent of the viewers it may get, as far as coming back is concerned.
    pub share_percent: u8,
    /// How long the hold-down still lasts; absent when there is none.
    pub hold_down_left_seconds: Option<f64>,
    /// How long ago its health, its stage or the operator's word last changed; absent when none
    /// has since the start.
    pub changed_seconds_ago: Option<f64>,
    /// Why that changed, for people.
    pub cause: Option<String>,
    /// Routes with a `failback` of their own on which it is at another stage.
    pub routes: Vec<RouteStageView>,
    /// The estimate that ranks it; absent while unknown.
    pub latency_seconds: Option<f64>,
    /// The service as written.
    pub origins: Vec<String>,
    /// Every address known.
    pub endpoints: Vec<EndpointView>,
}

/// How far the return of a region is on one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStageView {
    /// The route.
    pub route: String,
    /// The stage, as in [`RegionView::stage`].
    pub stage: String,
    /// Percent of the route's viewers that it may get.
    pub share_percent: u8,
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
    /// Whose evidence made it unhealthy, `probe` or `traffic`; absent while it is not.
    pub ejected_by: Option<String>,
    /// Whether a few real requests try it, to find out whether it serves them again.
    pub on_probation: bool,
    /// How long ago something last called for a probe at once, such as a request that failed.
    pub suspected_seconds_ago: Option<f64>,
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

impl RegionView {
    /// All regions, by name.
    #[must_use]
    pub fn all(beliefs: &Beliefs, now: Timestamp) -> Vec<Self> {
        let ids = (0..beliefs.regions.len()).map(RegionId::at);
        ids.zip(&beliefs.regions)
            .map(|(id, state)| Self::of(beliefs, id, state, now))
            .collect()
    }

    fn of(beliefs: &Beliefs, id: RegionId, state: &RegionState, now: Timestamp) -> Self {
        let region = beliefs.table.region(id);
        let urls: Vec<String> = region.origins.iter().map(|o| o.url()).collect();
        let change = state.last_change.as_ref();
        Self {
            name: region.name.to_string(),
            health: state.health.label().to_owned(),
            admin: state.admin.label().to_owned(),
            serving: state.serves(),
            stage: stage_label(state, stage(state)).to_owned(),
            share_percent: stage(state).share(),
            hold_down_left_seconds: state
                .failback
                .first()
                .and_then(Failback::hold_down_until)
                .map(|until| until.since(now).as_secs_f64()),
            changed_seconds_ago: change.map(|change| now.since(change.at).as_secs_f64()),
            cause: change.map(LastChange::cause),
            routes: own_stages(beliefs, id, state),
            latency_seconds: latency_seconds(state, now),
            endpoints: state
                .endpoints
                .iter()
                .map(|e| endpoint(e, &urls, now))
                .collect(),
            origins: urls,
        }
    }
}

/// The stages of a region, each with its label: those of its failback, and that it is on probation.
pub const STAGES: [&str; 6] = [
    "full",
    "down",
    "on_probation",
    "hold_down",
    "ramping",
    "awaiting_confirm",
];

/// The label of a region's stage: one that is down may be on probation.
#[must_use]
pub fn stage_label(state: &RegionState, stage: Stage) -> &'static str {
    if stage == Stage::Down && state.is_on_probation() {
        "on_probation"
    } else {
        stage.label()
    }
}

/// The routes on which a region is at another stage than under the table's own failback policy.
fn own_stages(beliefs: &Beliefs, id: RegionId, state: &RegionState) -> Vec<RouteStageView> {
    let table: &RoutingTable = &beliefs.table;
    let routes = (0..).map(RouteId).zip(&table.routes);
    let own = routes.filter_map(|(route_id, route)| {
        let policy = table.failback_of(route_id);
        let stage = state.failback.get(policy.index())?.stage();
        let differs = stage != self::stage(state);
        (differs && route.regions.contains(id)).then(|| RouteStageView {
            route: route.name.to_string(),
            stage: stage_label(state, stage).to_owned(),
            share_percent: stage.share(),
        })
    });
    own.collect()
}

/// The region's stage under the table's own failback policy.
#[must_use]
pub fn stage(state: &RegionState) -> Stage {
    state
        .failback
        .first()
        .map(Failback::stage)
        .unwrap_or_default()
}

/// The latency that ranks a region, in seconds, while it is known.
#[must_use]
pub fn latency_seconds(state: &RegionState, now: Timestamp) -> Option<f64> {
    best_estimate(&state.endpoints, now).map(|estimate| estimate.median.as_secs_f64())
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
        ejected_by: state
            .standing
            .ejected_by()
            .map(|by: EjectedBy| by.label().to_owned()),
        on_probation: state.standing.is_on_probation(),
        suspected_seconds_ago: state
            .standing
            .suspected()
            .map(|at| now.since(at).as_secs_f64()),
        latency_seconds: estimate.map(|estimate| estimate.median.as_secs_f64()),
        spread_seconds: estimate.map(|estimate| estimate.spread.as_secs_f64()),
        last_probe: probed.map(|(_, outcome)| match outcome {
            ProbeOutcome::Passed { .. } => "passed".to_owned(),
            ProbeOutcome::Failed(failure) => failure.to_string(),
        }),
        probed_seconds_ago: probed.map(|(at, _)| now.since(*at).as_secs_f64()),
    }
}

impl RouteView {
    /// All routes, in the order of the file.
    #[must_use]
    pub fn all(beliefs: &Beliefs) -> Vec<Self> {
        beliefs
            .table
            .routes
            .iter()
            .map(|route| Self::of(beliefs, route))
            .collect()
    }

    fn of(beliefs: &Beliefs, route: &Route) -> Self {
        let name = |id: &RegionId| beliefs.table.region(*id).name.to_string();
        let serving = beliefs.serving();
        let serving = route.order.iter().filter(|id| serving.contains(**id));
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
            written: beliefs.table.place(route.written),
        }
    }
}
