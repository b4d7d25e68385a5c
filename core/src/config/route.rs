//! `[[route]]`: which requests may use which regions, and how to choose.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::country::{self, CountrySection};
use crate::config::failback::FailbackSection;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::Integer;
use crate::config::region_names::RegionNames;
use crate::config::retry::RetrySection;
use crate::config::timeouts::RouteTimeoutsSection;
use crate::config::value;
use crate::model::id::{RegionId, RegionSet, RouteId};
use crate::model::viewer::UnknownViewer;
use crate::table::Written;
use crate::table::failback::FailbackConfig;
use crate::table::policy::{Policy, UpstreamTimeouts};
use crate::table::route::{HostPattern, Route};

/// Which requests may use which regions, and how to choose.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["regions"]))]
pub(super) struct RouteSection {
    /// Unique; names the route in metrics and logs.
    #[schemars(extend("default" = "route-N"))]
    name: Field<String>,
    /// `"api.example.com"`, or `"*.example.com"` for all names below it. Absent: any.
    host: Field<String>,
    /// How paths must begin.
    #[schemars(extend("default" = ANY_PATH))]
    path: Field<String>,
    /// The regions it may use; the `failover` policy follows this order.
    regions: Field<Vec<Field<String>>>,
    /// Among healthy regions: the lowest measured latency, the order written, the nearest to the
    /// viewer, or by weight.
    #[schemars(extend("default" = PolicyName::default()))]
    policy: Field<PolicyName>,
    /// For `policy = "weighted"`: each region's weight, such as `{ us-east-1 = 3, eu-west-1 = 1
    /// }`. One viewer stays in one region, unless more than a quarter of the requests come from its
    /// address (a sidecar, a NAT, a balancer that is not in `trusted_peers`): those are spread one by
    /// one.
    #[schemars(extend("x-key" = "region"))]
    weights: Field<BTreeMap<String, Field<Integer<1, 1_000_000>>>>,
    /// Regions to try first, in order, by country code (`JP`) or group (`"@eu"`, `"@eea"`,
    /// `"@europe"`, `"@asia"`, ..); the most specific line counts.
    #[schemars(extend("x-key" = "country or group"))]
    prefer: Field<CountrySection>,
    /// The only regions that may ever serve these viewers, whatever happens. Every line that
    /// names the viewer's country holds.
    #[schemars(extend("x-key" = "country or group"))]
    residency: Field<CountrySection>,
    /// How far to go for an answer.
    retry: Field<RetrySection>,
    /// Time limits of this route.
    timeouts: Field<RouteTimeoutsSection>,
    /// Keys of `[failback]` that differ on this route.
    failback: Field<FailbackSection>,
}

/// The path that begins every other.
const ANY_PATH: &str = "/";

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum PolicyName {
    #[default]
    Latency,
    Failover,
    Geo,
    Weighted,
}

/// What all routes are checked against.
pub(super) struct RouteCheck<'a> {
    pub(super) names: RegionNames<'a>,
    pub(super) timeouts: UpstreamTimeouts,
    pub(super) failback: FailbackConfig,
    /// What happens to unknown viewers when the file does not say it.
    pub(super) unsaid_unknown: Option<UnknownViewer>,
}

/// Names and matches of the routes before.
#[derive(Default)]
struct KnownRoutes {
    names: HashMap<Arc<str>, Written>,
    matches: HashMap<(HostPattern, String), Arc<str>>,
}

/// A route's table and its place.
type PlacedRoute<'a> = (&'a RouteSection, Span);

impl RouteCheck<'_> {
    /// All routes in the order of the file, and the failback of those that write their own.
    pub(super) fn routes(
        &self,
        written: &Field<Vec<Field<RouteSection>>>,
    ) -> (Vec<Route>, BTreeMap<RouteId, FailbackConfig>) {
        let context = self.names.context;
        if !written.is_written() {
            let help = "add one: [[route]] with regions = [\"us-east-1\"]";
            context.missing("no-route", "there is no route", help);
        }
        let mut known = KnownRoutes::default();
        let mut routes = Vec::with_capacity(written.get().map_or(0, Vec::len));
        let mut failbacks = BTreeMap::new();
        for (position, placed) in written.items().enumerate() {
            let route = self.route(placed, position, &mut known);
            let place = placed.0.residency.key().unwrap_or(placed.1);
            country::residency_makes_sense(place, &route, self.unsaid_unknown, context);
            routes.push(route);
            if let Some(own) = placed.0.failback.get() {
                let id = RouteId(u32::try_from(position).unwrap_or(u32::MAX));
                failbacks.insert(id, own.check(self.failback));
            }
        }
        (routes, failbacks)
    }

    fn route(&self, placed: PlacedRoute<'_>, position: usize, known: &mut KnownRoutes) -> Route {
        let (section, span) = placed;
        let order = self.regions_of(placed);
        let regions: RegionSet = order.iter().copied().collect();
        let name = self.name(placed, position, known);
        let (host, path) = self.matches(placed, &name, known);
        let own = section.timeouts.written();
        Route {
            name,
            host,
            path,
            regions,
            policy: self.policy(placed, &order),
            prefer: country::preferences(&section.prefer, regions, &self.names),
            residency: country::residencies(&section.residency, regions, &self.names),
            retry: section.retry.section(|retry, _| retry.check()),
            timeouts: own.map_or(self.timeouts, |(own, span)| {
                own.check(span, self.timeouts, self.names.context)
            }),
            written: self.names.context.sources.written(span),
            policy_written: section
                .policy
                .key()
                .map(|key| self.names.context.sources.written(key))
                .unwrap_or_default(),
            order,
        }
    }

    fn name(
        &self,
        (section, span): PlacedRoute<'_>,
        position: usize,
        known: &mut KnownRoutes,
    ) -> Arc<str> {
        let name: Arc<str> = match section.name.get() {
            Some(name) => Arc::from(name.as_str()),
            None => Arc::from(format!("route-{}", position + 1)),
        };
        let place = section.name.place(span);
        if !value::is_name(&name) {
            let message = format!("`{name}` cannot name a route");
            let help = "use up to 64 letters, digits, `-`, `_` and `.`";
            self.names.context.error("bad-name", place, message, help);
        }
        let here = self.names.context.sources.written(place);
        if let Some(first) = known.names.insert(name.clone(), here) {
            let message = format!("another route is called `{name}` (line {})", first.line);
            let help = "names tell routes apart in metrics and logs";
            self.names
                .context
                .error("duplicate-route", place, message, help);
        }
        name
    }

    fn matches(
        &self,
        (section, span): PlacedRoute<'_>,
        name: &Arc<str>,
        known: &mut KnownRoutes,
    ) -> (HostPattern, String) {
        let host = section.host.written().map(|(host, span)| {
            value::host_pattern(host).unwrap_or_else(|| {
                let message = format!("`{host}` is not a host");
                let help = "write \"api.example.com\" or \"*.example.com\", without a port; \
                            leave `host` out to match any";
                self.names.context.error("bad-host", span, message, help);
                HostPattern::Any
            })
        });
        let path = section.path.written().map_or(ANY_PATH, |(path, span)| {
            if !value::is_path(path) || path.contains('?') {
                let message = format!("`{path}` is not a path");
                let help = "a path begins with `/`, and has no query and no spaces";
                self.names.context.error("bad-path", span, message, help);
            }
            path
        });
        let key = (host.unwrap_or(HostPattern::Any), path.to_owned());
        if let Some(other) = known.matches.insert(key.clone(), name.clone()) {
            let message = format!("route `{other}` takes the same host and path");
            let help = "only one of them would ever be used";
            let place = section.path.place(section.host.place(span));
            self.names
                .context
                .error("duplicate-match", place, message, help);
        }
        key
    }

    fn regions_of(&self, (section, span): PlacedRoute<'_>) -> Vec<RegionId> {
        let findings = self.names.context.findings;
        let written = section.regions.required("regions", span, findings);
        if written.is_empty_list() {
            let message = "a route needs a region";
            let help = self.names.list();
            let place = written.place(span);
            self.names
                .context
                .error("no-regions", place, message, &help);
        }
        let mut order = Vec::with_capacity(written.get().map_or(0, Vec::len));
        for (name, span) in written.items() {
            match self.names.find(name, span) {
                Some(id) if order.contains(&id) => {
                    let message = format!("`{name}` is listed twice");
                    self.names.context.fault("duplicate-region", span, message);
                }
                Some(id) => order.push(id),
                None => {}
            }
        }
        order
    }

    fn policy(&self, placed: PlacedRoute<'_>, order: &[RegionId]) -> Policy {
        let policy = match placed.0.policy.or(PolicyName::default()) {
            PolicyName::Latency => Policy::Latency,
            PolicyName::Failover => Policy::Failover,
            PolicyName::Geo => Policy::Geo,
            PolicyName::Weighted => return self.weighted(placed, order),
        };
        if let Some(key) = placed.0.weights.key() {
            let message = "`weights` are for the weighted policy only";
            let help = "add policy = \"weighted\", or take them out";
            self.names.context.error("bad-weights", key, message, help);
        }
        policy
    }

    fn weighted(&self, (section, span): PlacedRoute<'_>, order: &[RegionId]) -> Policy {
        let own: RegionSet = order.iter().copied().collect();
        let mut weights = Vec::new();
        let mut named = RegionSet::EMPTY;
        for (name, key, weight) in section.weights.entries() {
            if let Some(region) = self.names.find_in(own, name, key) {
                named.insert(region);
                weights.extend(weight.get().map(|weight| (region, u32::from(*weight))));
            }
        }
        if let Some(region) = own.without(named).iter().next() {
            let name = &self.names.regions[region.index()].name;
            let message = format!("region `{name}` of this route has no weight");
            let help = "every region needs one: weights = { us-east-1 = 3, eu-west-1 = 1 }";
            let place = section.weights.place(section.policy.place(span));
            self.names
                .context
                .error("bad-weights", place, message, help);
        }
        weights.sort();
        Policy::Weighted(weights)
    }
}
