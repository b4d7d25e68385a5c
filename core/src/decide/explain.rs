//! Why a request goes where it goes, for people and for programs.
//!
//! [`explain`] calls the proxy's own [`decide`] and reads the filters that it asks, so the two
//! cannot disagree.

mod explanation;
mod text;

pub use crate::decide::explain::explanation::{
    ExplainedChoice, ExplainedReason, ExplainedRegion, ExplainedRoute, ExplainedViewer, Explanation,
};

use crate::decide::draw_key::DrawKey;
use crate::decide::request::RequestFacts;
use crate::decide::snapshot::{RegionSnapshot, Snapshot, best_estimate};
use crate::decide::{Decision, Exclusion, NoDecision, Rule, decide, exclusions};
use crate::health::failback::Failback;
use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::model::place::Place;
use crate::model::time::Timestamp;
use crate::model::viewer::{UnknownViewer, Viewer};
use crate::table::policy::Policy;
use crate::table::residency::PermittedSet;
use crate::table::route::{HostPattern, Route};

/// Decides as the proxy would at `now`, and says why.
///
/// `facts.path` must be as matched, as for [`decide`].
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
        draw: facts.draw,
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
    draw: DrawKey,
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
        let first = decision.ranked.all().first().copied();
        if first.is_some_and(|first| self.snapshot.suppressed.contains(first)) {
            return unwritten(
                "its probes fail, and it keeps its traffic: probes alone take out one region a \
                 minute, while another is well",
            );
        }
        let table = &self.snapshot.table;
        let route = table.route(decision.route);
        let written = match decision.rule {
            Rule::FailOpen | Rule::CorrelatedFailure => None,
            Rule::Preference(line) => route.prefer.get(usize::from(line)).map(|line| line.written),
            _ => Some(route.policy_written),
        };
        ExplainedReason {
            says: self.rule_in_words(decision, route, first),
            written: written.map(|written| table.place(written)),
        }
    }

    fn rule_in_words(&self, decision: &Decision, route: &Route, first: Option<RegionId>) -> String {
        let says = match decision.rule {
            Rule::FailOpen => "fail-open: no permitted region can serve, this is the least bad",
            Rule::Preference(line) => {
                let group = route.prefer.get(usize::from(line)).map(|line| line.group);
                let group = group.map_or(String::new(), |group| format!("\"{group}\""));
                return format!("prefer {group}");
            }
            Rule::Latency => self.by_latency(decision, first),
            Rule::CorrelatedFailure => {
                "all regions fell together, so the fault is most likely on this side: none is out"
            }
            Rule::Failover => "first in the order written",
            Rule::Geo if first.and_then(|first| self.distance(first)).is_some() => {
                "nearest to the viewer"
            }
            Rule::Geo => {
                let by_latency = self.by_latency(decision, first);
                return format!("no distance is known: {by_latency}");
            }
            Rule::Weighted => {
                return match first.and_then(|first| weight(route, first)) {
                    Some(weight) => {
                        let drawn = self.draw.in_words();
                        format!("the viewer's share, weight {weight}, {drawn}")
                    }
                    None => {
                        let by_latency = self.by_latency(decision, first);
                        format!("no weighted region can serve: {by_latency}")
                    }
                };
            }
        };
        says.to_owned()
    }

    fn by_latency(&self, decision: &Decision, first: Option<RegionId>) -> &'static str {
        let latency = |region: RegionId| self.state(region)?.latency;
        let Some(measured) = first.and_then(latency) else {
            return "no latency is known, first by name";
        };
        let mut others = decision.ranked.serving().iter().copied();
        if others.any(|other| latency(other).is_some_and(|other| other < measured)) {
            "lowest latency, no other better by the switch margin for long enough"
        } else {
            "lowest latency"
        }
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
        let estimate = state.and_then(|state| best_estimate(&state.endpoints, self.now));
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
                "well again, gets {share} % of the viewers so far, not this one, {}",
                self.draw.in_words()
            )),
            (Exclusion::HoldDown, _) => unwritten(&self.hold_down(region)),
        }
    }

    fn unhealthy(&self, region: RegionId) -> &'static str {
        if self.snapshot.probation.contains(region) {
            "unhealthy; its probes pass again, and it is on probation by copies of a few safe requests"
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
        match failback.and_then(Failback::hold_down_until) {
            Some(until) => {
                let left = until.since(self.now).as_secs();
                format!("well again, in hold-down for {left} s more")
            }
            None => "well again, in hold-down".to_owned(),
        }
    }

    fn state(&self, region: RegionId) -> Option<&RegionSnapshot> {
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
