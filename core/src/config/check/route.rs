//! Routes: what they match, the regions they may use, and how they choose.

mod countries;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::config::FailbackConfig;
use crate::config::check::{Context, settings};
use crate::config::fields::{self, Fields, Named, Text};
use crate::config::problem::{Problem, nearest};
use crate::config::tree::Value;
use crate::config::value;
use crate::model::country::Country;
use crate::model::id::{MAX_REGIONS, RegionId, RegionSet, RouteId};
use crate::model::viewer::UnknownViewer;
use crate::table::Written;
use crate::table::origin::Region;
use crate::table::policy::{Policy, RetryPolicy, UpstreamTimeouts};
use crate::table::route::{HostPattern, Route};

/// What all routes are checked against.
struct World<'a> {
    regions: &'a [Region],
    countries: Vec<Country>,
    timeouts: UpstreamTimeouts,
    failback: FailbackConfig,
    /// What happens to unknown viewers when the file does not say it.
    unsaid_unknown: Option<UnknownViewer>,
    context: &'a Context<'a>,
}

/// `[[route]]`, in the order of the file, and the failback of those that write their own.
pub(super) fn routes(
    root: &Fields<'_>,
    regions: &[Region],
    (timeouts, failback): (UpstreamTimeouts, FailbackConfig),
    unknown: UnknownViewer,
    context: &Context<'_>,
) -> (Vec<Route>, BTreeMap<RouteId, FailbackConfig>) {
    let written = root.sections("route");
    if root.node("route").is_none() {
        let problem = Problem::error("no-route", None, "there is no route");
        let help = "add one: [[route]] with regions = [\"us-east-1\"]";
        context.report.push(problem.help(help));
    }
    let world = World {
        regions,
        countries: countries::all_countries(),
        timeouts,
        failback,
        unsaid_unknown: (!is_unknown_written(root)).then_some(unknown),
        context,
    };
    let mut seen = Seen::default();
    let mut routes = Vec::with_capacity(written.len());
    let mut failbacks = BTreeMap::new();
    for (position, fields) in written.iter().enumerate() {
        let route = world.route(fields, position, &mut seen);
        if fields.node("failback").is_some() {
            let own = settings::failback(fields.section("failback"), world.failback);
            let id = RouteId(u32::try_from(position).unwrap_or(u32::MAX));
            failbacks.insert(id, own);
        }
        routes.push(route);
    }
    (routes, failbacks)
}

/// Whether the file itself says what happens to viewers whose country nobody knows.
fn is_unknown_written(root: &Fields<'_>) -> bool {
    root.section("viewer")
        .is_some_and(|viewer| viewer.node("unknown").is_some())
}

/// Names and matches of the routes before.
#[derive(Default)]
struct Seen {
    names: HashMap<Arc<str>, Written>,
    matches: HashMap<(HostPattern, String), Arc<str>>,
}

impl World<'_> {
    fn route(&self, fields: &Fields<'_>, position: usize, seen: &mut Seen) -> Route {
        let order = self.regions_of(fields);
        let regions: RegionSet = order.iter().copied().collect();
        let name = self.name(fields, position, seen);
        let (host, path) = self.matches(fields, &name, seen);
        let timeouts = match fields.section("timeouts") {
            Some(section) => {
                let timeouts = settings::upstream(&section, self.timeouts);
                settings::first_byte_within_request(&section, timeouts, self.context);
                timeouts
            }
            None => self.timeouts,
        };
        let route = Route {
            name,
            host,
            path,
            regions,
            policy: self.policy(fields, &order),
            prefer: self.preferences(fields, regions),
            residency: self.residencies(fields, regions),
            retry: retry(fields),
            timeouts,
            written: self.context.sources.written(fields.span),
            policy_written: fields
                .key_span("policy")
                .map(|span| self.context.sources.written(span))
                .unwrap_or_default(),
            order,
        };
        self.residency_makes_sense(fields, &route);
        route
    }

    fn name(&self, fields: &Fields<'_>, position: usize, seen: &mut Seen) -> Arc<str> {
        let written = fields.text("name");
        let name: Arc<str> = match written {
            Some(name) => Arc::from(name.text),
            None => Arc::from(format!("route-{}", position + 1)),
        };
        let span = fields.place("name");
        if !value::is_name(&name) {
            let message = format!("`{name}` cannot name a route");
            let help = "use up to 64 letters, digits, `-`, `_` and `.`";
            self.context.error("bad-name", span, message, help);
        }
        let here = self.context.sources.written(span);
        if let Some(first) = seen.names.insert(name.clone(), here) {
            let message = format!("another route is called `{name}` (line {})", first.line);
            let help = "names tell routes apart in metrics and logs";
            self.context.error("duplicate-route", span, message, help);
        }
        name
    }

    fn matches(
        &self,
        fields: &Fields<'_>,
        name: &Arc<str>,
        seen: &mut Seen,
    ) -> (HostPattern, String) {
        let host = fields.text("host").map(|host| {
            value::host_pattern(host.text).unwrap_or_else(|| {
                let message = format!("`{}` is not a host", host.text);
                let help = "write \"api.example.com\" or \"*.example.com\", without a port; \
                            leave `host` out to match any";
                self.context.error("bad-host", host.span, message, help);
                HostPattern::Any
            })
        });
        let path = fields.text("path").map_or("/", |path| {
            if !value::is_path(path.text) || path.text.contains('?') {
                let message = format!("`{}` is not a path", path.text);
                let help = "a path begins with `/`, and has no query and no spaces";
                self.context.error("bad-path", path.span, message, help);
            }
            path.text
        });
        let place = ["path", "host"]
            .into_iter()
            .find(|key| fields.node(key).is_some());
        let key = (host.unwrap_or(HostPattern::Any), path.to_owned());
        if let Some(other) = seen.matches.insert(key.clone(), name.clone()) {
            let message = format!("route `{other}` takes the same host and path");
            let help = "only one of them would ever be used";
            let span = place.map_or(fields.span, |key| fields.place(key));
            self.context.error("duplicate-match", span, message, help);
        }
        key
    }

    fn regions_of(&self, fields: &Fields<'_>) -> Vec<RegionId> {
        let Some(written) = fields.texts("regions") else {
            return Vec::new();
        };
        if self.is_empty_list(fields, "regions") {
            let message = "a route needs a region".to_owned();
            let help = self.known_regions();
            self.context
                .error("no-regions", fields.place("regions"), message, &help);
        }
        let mut order = Vec::with_capacity(written.len());
        for region in written {
            match self.region(region) {
                Some(id) if order.contains(&id) => {
                    let message = format!("`{}` is listed twice", region.text);
                    self.context
                        .report
                        .error("duplicate-region", region.span, message);
                }
                Some(id) => order.push(id),
                None => {}
            }
        }
        order
    }

    fn is_empty_list(&self, fields: &Fields<'_>, key: &str) -> bool {
        matches!(fields.node(key).map(|node| &node.value),
            Some(Value::Array(items)) if items.is_empty())
    }

    /// The region called so, or a problem. Regions beyond the limit are none; that is said once.
    fn region(&self, written: Text<'_>) -> Option<RegionId> {
        let found = self
            .regions
            .binary_search_by(|region| region.name.as_ref().cmp(written.text));
        if let Ok(position) = found {
            return (position < MAX_REGIONS).then(|| RegionId::at(position));
        }
        let names = self.regions.iter().map(|region| region.name.as_ref());
        let help = nearest(written.text, names).map_or_else(
            || self.known_regions(),
            |name| format!("did you mean `{name}`?"),
        );
        let message = format!("region `{}` is not defined", written.text);
        self.context
            .error("unknown-region", written.span, message, &help);
        None
    }

    fn known_regions(&self) -> String {
        let names: Vec<_> = self.regions.iter().map(|region| &*region.name).collect();
        format!("defined regions: {}", names.join(", "))
    }

    /// The region called so, which must be one of the route's.
    fn own_region(&self, written: Text<'_>, own: RegionSet) -> Option<RegionId> {
        let region = self.region(written)?;
        if own.contains(region) {
            return Some(region);
        }
        let message = format!(
            "region `{}` is not among the route's `regions`",
            written.text
        );
        let help = "add it there, or take it out here";
        self.context
            .error("region-not-in-route", written.span, message, help);
        None
    }

    fn policy(&self, fields: &Fields<'_>, order: &[RegionId]) -> Policy {
        let policy = match fields.word("policy") {
            Some("failover") => Policy::Failover,
            Some("geo") => Policy::Geo,
            Some("weighted") => return self.weighted(fields, order),
            _ => Policy::Latency,
        };
        if let Some(span) = fields.key_span("weights") {
            let message = "`weights` are for the weighted policy only".to_owned();
            let help = "add policy = \"weighted\", or take them out";
            self.context.error("bad-weights", span, message, help);
        }
        policy
    }

    fn weighted(&self, fields: &Fields<'_>, order: &[RegionId]) -> Policy {
        let own: RegionSet = order.iter().copied().collect();
        let mut weights = Vec::new();
        let mut named = RegionSet::EMPTY;
        for Named { name, key, node } in fields.entries("weights") {
            let region = self.own_region(
                Text {
                    text: name,
                    span: key,
                },
                own,
            );
            let weight = fields::integer(node, (1, 1_000_000), self.context.report);
            if let Some(region) = region {
                named.insert(region);
                weights
                    .extend(weight.and_then(|weight| Some((region, u32::try_from(weight).ok()?))));
            }
        }
        if let Some(region) = own.without(named).iter().next() {
            let name = &self.regions[region.index()].name;
            let message = format!("region `{name}` of this route has no weight");
            let help = "every region needs one: weights = { us-east-1 = 3, eu-west-1 = 1 }";
            let place = if fields.node("weights").is_some() {
                "weights"
            } else {
                "policy"
            };
            self.context
                .error("bad-weights", fields.place(place), message, help);
        }
        weights.sort();
        Policy::Weighted(weights)
    }
}

fn retry(fields: &Fields<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some(section) = fields.section("retry") else {
        return default;
    };
    RetryPolicy {
        attempts: section
            .integer("attempts")
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(default.attempts),
        idempotency_key: section
            .flag("idempotency_key")
            .unwrap_or(default.idempotency_key),
        grpc: section.flag("grpc").unwrap_or(default.grpc),
    }
}
