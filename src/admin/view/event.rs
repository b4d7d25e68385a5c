//! A change of belief, as readers of events get it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::admin::view::admin_label;
use meridian_core::apply::Transition;
use meridian_core::health::failback::Stage;
use meridian_core::health::state::Health;

/// A change of belief.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// When, in seconds since 1970.
    pub at_unix_seconds: f64,
    /// `endpoint`, `region`, `ejection_suppressed`, `correlated_failure`, `leader`, `failback`, `addresses` or
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

/// What it means that all regions fell together, or no longer do.
fn correlated_failure(began: bool) -> &'static str {
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
            Transition::EjectionSuppressed { region, cause } => Self {
                cause: Some(cause.clone()),
                ..event("ejection_suppressed", region)
            },
            Transition::CorrelatedFailure { began } => Self {
                to: Some(if *began { "began" } else { "ended" }.to_owned()),
                cause: Some(correlated_failure(*began).to_owned()),
                ..event("correlated_failure", "")
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
