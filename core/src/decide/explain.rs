//! Why a request goes where it goes, for people and for programs.
//!
//! [`explain`] calls the proxy's own [`decide`] and reads the filters that it asks, so the two
//! cannot disagree.

mod text;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::decide::request::RequestFacts;
use crate::decide::snapshot::{RegionState, Snapshot};
use crate::decide::{Decision, Exclusion, NoDecision, Rule, decide, exclusions};
use crate::health::failback::{Failback, Stage};
use crate::health::rise_fall::Health;
use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::model::place::Place;
use crate::model::time::Timestamp;
use crate::model::viewer::{UnknownViewer, Viewer};
use crate::table::policy::Policy;
use crate::table::residency::PermittedSet;
use crate::table::route::{HostPattern, Route};

/// One decision with every reason; prints as aligned text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The request's method. It plays no part in the choice: [`explain`] leaves it out, and who
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

/// Decides as the proxy would at `now`, and says why.
///
/// `facts.path` must be as matched, as for [`decide`](crate::decide::decide).
#[must_use]
pub fn explain(snapshot: &Snapshot, facts: &RequestFacts<'_>, now: Timestamp) -> Explanation {
    let result = decide(snapshot, facts);
    let matched = match result {
        Ok(Decision { route, .. })
        | Err(NoDecision::UnknownViewer(route) | NoDecision::NoRegion(route)) => Some(route),
        Err(NoDecision::NoRoute) => None,
    };
    let case = ExplainContext {
        snapshot,
        viewer: facts.viewer,
        matched,
        country: facts.viewer.counts_as(snapshot.unknown),
        now,
    };
    let excluded = exclusions(snapshot, facts);
    Explanation {
        method: None,
        host: facts.host.map(ToOwned::to_owned),
        path: facts.path.to_owned(),
        generation: snapshot.generation,
        viewer: case.viewer(),
        route: matched.map(|id| case.route(id)),
        verdict: case.verdict(result),
        regions: case.regions(result.ok(), &excluded),
    }
}

/// What every part of an explanation looks at.
struct ExplainContext<'a> {
    snapshot: &'a Snapshot,
    viewer: &'a Viewer,
    /// The route that took the request.
    matched: Option<RouteId>,
    /// The country the viewer counts as from.
    country: Option<Country>,
    now: Timestamp,
}

impl ExplainContext<'_> {
    fn name(&self, region: RegionId) -> String {
        self.snapshot.table.region(region).name.to_string()
    }

    fn viewer(&self) -> ExplainedViewer {
        let unknown = match (self.viewer.country, self.snapshot.unknown) {
            (Some(_), _) => None,
            (None, UnknownViewer::Any) => Some("any".to_owned()),
            (None, UnknownViewer::Country(country)) => Some(country.to_string()),
            (None, UnknownViewer::Refuse) => Some("refuse".to_owned()),
        };
        ExplainedViewer {
            address: self.viewer.address,
            country: self.viewer.country.map(|country| country.to_string()),
            source: self.viewer.source.label().to_owned(),
            unknown,
        }
    }

    fn route(&self, id: RouteId) -> ExplainedRoute {
        let route = self.snapshot.table.route(id);
        let permitted = self.permitted(route);
        let holds = (0..).zip(&route.residency).filter(|(_, line)| {
            self.country
                .is_some_and(|country| line.group.contains(country))
        });
        let host = match &route.host {
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Suffix(suffix) => format!("*.{suffix}"),
            HostPattern::Any => String::new(),
        };
        ExplainedRoute {
            name: route.name.to_string(),
            matches: format!("{host}{}", route.path),
            policy: route.policy.label().to_owned(),
            written: self.snapshot.table.place(route.written),
            permitted: permitted.iter().map(|region| self.name(region)).collect(),
            residency: holds.map(|(at, _)| self.residency(route, at)).collect(),
        }
    }

    fn permitted(&self, route: &Route) -> RegionSet {
        let permitted = route.permitted(self.country, self.snapshot.unknown);
        permitted.map_or(RegionSet::EMPTY, PermittedSet::regions)
    }

    fn residency(&self, route: &Route, line: u16) -> ExplainedReason {
        route.residency.get(usize::from(line)).map_or_else(
            || unwritten("residency"),
            |line| ExplainedReason {
                says: format!("residency \"{}\"", line.group),
                written: Some(self.snapshot.table.place(line.written)),
            },
        )
    }

    fn verdict(&self, result: Result<Decision, NoDecision>) -> ExplainedChoice {
        let refused = |rule: &str, because: ExplainedReason| ExplainedChoice {
            region: None,
            rule: rule.to_owned(),
            because,
        };
        match result {
            Ok(decision) => ExplainedChoice {
                region: decision
                    .ranked
                    .all()
                    .first()
                    .map(|region| self.name(*region)),
                rule: decision.rule.label().to_owned(),
                because: self.because(&decision),
            },
            Err(NoDecision::NoRoute) => {
                refused("no_route", unwritten("no route takes this host and path"))
            }
            Err(NoDecision::UnknownViewer(id)) => {
                let route = self.snapshot.table.route(id);
                let written = route.residency.first().map(|line| line.written);
                refused(
                    "unknown_viewer",
                    ExplainedReason {
                        says: "the country is unknown, viewer.unknown is \"refuse\" and the \
                               route has a residency"
                            .to_owned(),
                        written: written.map(|written| self.snapshot.table.place(written)),
                    },
                )
            }
            Err(NoDecision::NoRegion(id)) => {
                let permitted = self.permitted(self.snapshot.table.route(id));
                refused(
                    "no_region",
                    unwritten(if permitted.is_empty() {
                        "residency leaves no region of the route"
                    } else {
                        "every permitted region is drained"
                    }),
                )
            }
        }
    }

    /// The rule in words, and the line that sets it.
    fn because(&self, decision: &Decision) -> ExplainedReason {
        let table = &self.snapshot.table;
        let route = table.route(decision.route);
        let first = decision.ranked.all().first().copied();
        let latency = |region: RegionId| self.state(region)?.latency.map(|l| l.median);
        let measured = first.and_then(latency);
        let suppressed = |region: &RegionId| {
            let state = self.state(*region);
            state.is_some_and(|state| state.health == Health::Unhealthy && !state.out)
                && !self.snapshot.correlated_failure
        };
        let written = match decision.rule {
            Rule::FailOpen | Rule::Probation | Rule::CorrelatedFailure => None,
            _ if first.as_ref().is_some_and(suppressed) => None,
            Rule::Preference(line) => route
                .prefer
                .get(usize::from(line))
                .map(|line| table.place(line.written)),
            _ => Some(table.place(route.policy_written)),
        };
        let by_latency = || {
            let better = |region: &RegionId| latency(*region) < measured;
            let serving = decision.ranked.serving();
            match measured {
                None => "no latency is known, first by name",
                Some(_) if serving.iter().any(|r| latency(*r).is_some() && better(r)) => {
                    "lowest latency, no other better by the switch margin for long enough"
                }
                Some(_) => "lowest latency",
            }
        };
        let says = match decision.rule {
            _ if first.as_ref().is_some_and(suppressed) => {
                "its probes fail, and it keeps its traffic: probes alone take out one region a \
                 minute, while another is well"
                    .to_owned()
            }
            Rule::FailOpen => {
                "fail-open: no permitted region can serve, this is the least bad".to_owned()
            }
            Rule::Preference(line) => {
                let group = route.prefer.get(usize::from(line)).map(|line| line.group);
                format!(
                    "prefer {}",
                    group.map_or(String::new(), |group| format!("\"{group}\""))
                )
            }
            Rule::Latency => by_latency().to_owned(),
            Rule::CorrelatedFailure => {
                "all regions fell together, so the fault is most likely on this side: none is out"
                    .to_owned()
            }
            Rule::Probation => "a probation request: whether the region serves again".to_owned(),
            Rule::Failover => "first in the order written".to_owned(),
            Rule::Geo if first.and_then(|first| self.distance(first)).is_some() => {
                "nearest to the viewer".to_owned()
            }
            Rule::Geo => format!("no distance is known: {}", by_latency()),
            Rule::Weighted => match first.and_then(|first| weight(route, first)) {
                Some(weight) => format!("the viewer's share, weight {weight}"),
                None => format!("no weighted region can serve: {}", by_latency()),
            },
        };
        ExplainedReason { says, written }
    }

    fn regions(
        &self,
        decision: Option<Decision>,
        excluded: &[(RegionId, Exclusion)],
    ) -> Vec<ExplainedRegion> {
        let route = self.matched.map(|id| self.snapshot.table.route(id));
        let ranked = decision.map(|decision| decision.ranked).unwrap_or_default();
        let unranked = (0..self.snapshot.table.regions.len())
            .map(RegionId::at)
            .filter(|region| !ranked.all().contains(region));
        let regions = ranked.all().iter().copied().chain(unranked);
        let explained = regions.map(|region| {
            let rank = ranked.all().iter().position(|ranked| *ranked == region);
            let exclusion = excluded.iter().find(|(out, _)| *out == region);
            let out = exclusion.map(|(_, exclusion)| self.out(route, region, *exclusion));
            self.region(route, region, rank.map(|rank| rank + 1), out)
        });
        explained.collect()
    }

    fn region(
        &self,
        route: Option<&Route>,
        region: RegionId,
        rank: Option<usize>,
        out: Option<ExplainedReason>,
    ) -> ExplainedRegion {
        let state = self.state(region);
        let estimate = state.and_then(|state| state.estimate(self.now));
        let by_distance = route.is_some_and(|route| route.policy == Policy::Geo);
        ExplainedRegion {
            name: self.name(region),
            rank,
            out,
            health: state
                .map(|state| state.health)
                .unwrap_or_default()
                .label()
                .to_owned(),
            admin: state
                .map(|state| state.admin)
                .unwrap_or_default()
                .label()
                .to_owned(),
            latency_seconds: estimate.map(|estimate| estimate.median.as_secs_f64()),
            latency_spread_seconds: estimate.map(|estimate| estimate.spread.as_secs_f64()),
            latency_age_seconds: estimate.map(|estimate| estimate.age.as_secs_f64()),
            distance_km: by_distance.then(|| self.distance(region)).flatten(),
            weight: route.and_then(|route| weight(route, region)),
        }
    }

    fn out(
        &self,
        route: Option<&Route>,
        region: RegionId,
        exclusion: Exclusion,
    ) -> ExplainedReason {
        match (exclusion, route) {
            (Exclusion::Residency(line), Some(route)) => self.residency(route, line),
            (Exclusion::NotInRoute, Some(route)) => ExplainedReason {
                says: "not in the route's regions".to_owned(),
                written: Some(self.snapshot.table.place(route.written)),
            },
            (Exclusion::Residency(_), None) => unwritten("residency"),
            (Exclusion::NotInRoute, None) => unwritten("not in the route's regions"),
            (Exclusion::Drained, _) => unwritten("drained by the operator"),
            (Exclusion::Unhealthy, _) => unwritten(self.unhealthy(region)),
            (Exclusion::NoEndpoint, _) => unwritten("no address is known"),
            (Exclusion::UnknownViewer, _) => unwritten("the viewer's country is unknown"),
            (Exclusion::AwaitingConfirm, _) => {
                unwritten("well again, waits for an operator to agree")
            }
            (Exclusion::Ramping(share), _) => unwritten(&format!(
                "well again, gets {share} % of the viewers so far, not this one"
            )),
            (Exclusion::HoldDown, _) => unwritten(&self.hold_down(region)),
        }
    }

    fn unhealthy(&self, region: RegionId) -> &'static str {
        if self.snapshot.probation.contains(region) {
            "unhealthy; its probes pass again, and it is on probation by a few safe requests"
        } else {
            "unhealthy"
        }
    }

    /// Until when a region is in hold-down.
    fn hold_down(&self, region: RegionId) -> String {
        let failback_of = |route| self.snapshot.table.failback_of(route);
        let policy = self.matched.map(failback_of).unwrap_or_default();
        let failback = self
            .state(region)
            .and_then(|state| state.failback.get(policy.index()));
        match failback.map(Failback::stage) {
            Some(Stage::HoldDown { until }) => {
                let left = until.since(self.now).as_secs();
                format!("well again, in hold-down for {left} s more")
            }
            _ => "well again, in hold-down".to_owned(),
        }
    }

    fn state(&self, region: RegionId) -> Option<&RegionState> {
        self.snapshot.regions.get(region.index())
    }

    /// Kilometres from the viewer, or from the middle of the country it counts as from.
    fn distance(&self, region: RegionId) -> Option<f32> {
        let from = self
            .viewer
            .place
            .or_else(|| self.country.and_then(Country::place))?;
        let to: Place = self.snapshot.table.region(region).place?;
        Some(from.distance_km(to))
    }
}

fn unwritten(says: &str) -> ExplainedReason {
    ExplainedReason {
        says: says.to_owned(),
        written: None,
    }
}

fn weight(route: &Route, region: RegionId) -> Option<u32> {
    let Policy::Weighted(weights) = &route.policy else {
        return None;
    };
    let found = weights.iter().find(|(weighed, _)| *weighed == region);
    found.map(|(_, weight)| *weight)
}
