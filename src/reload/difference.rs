//! What is different between two configurations, by name, for people.

use std::collections::BTreeMap;
use std::path::PathBuf;

use meridian_core::config::{Config, FailbackConfig, ListenerConfig};
use meridian_core::model::id::{RegionId, RegionSet, RouteId};
use meridian_core::table::failback::FailbackId;
use meridian_core::table::origin::Region;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::Route;
use meridian_core::table::{RoutingTable, Written};

/// Lines shown at most; ten thousand routes may change at once.
const LINES: usize = 100;

/// What is different between `old` and `new`, one line each, at most a hundred and a count of the
/// rest. `files` are those whose content changed; they are named unless they are the
/// configuration's own text.
#[must_use]
pub fn changes(old: &Config, new: &Config, files: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    let listeners = |config: &Config| -> BTreeMap<String, ListenerConfig> {
        let listeners = config.listeners.iter();
        listeners
            .map(|listener| (listener.address.to_string(), listener.clone()))
            .collect()
    };
    compare("listener", &listeners(old), &listeners(new), &mut lines);
    compare(
        "region",
        &regions(&old.table),
        &regions(&new.table),
        &mut lines,
    );
    compare(
        "route",
        &routes(&old.table),
        &routes(&new.table),
        &mut lines,
    );
    lines.extend(sections(old, new));
    let own_text = |file: &PathBuf| {
        let mut sources = old.sources.iter().chain(&new.sources);
        sources.any(|source| source.path == *file)
    };
    let others = files.iter().filter(|file| !own_text(file));
    lines.extend(others.map(|file| format!("file {} changed", file.display())));
    if lines.len() > LINES {
        let rest = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("and {rest} more"));
    }
    lines
}

/// The sections that differ, a line each.
fn sections(old: &Config, new: &Config) -> impl Iterator<Item = String> {
    let traffic = |config: &Config| config.table.traffic;
    let sections = [
        ("name", old.name != new.name),
        ("workers", old.workers != new.workers),
        ("admin", old.admin != new.admin),
        ("viewer", old.viewer != new.viewer),
        ("limits", old.limits != new.limits),
        ("dns", old.dns != new.dns),
        ("drain", old.drain != new.drain),
        ("access_log", old.access_log != new.access_log),
        (
            "failback",
            old.table.failbacks().first() != new.table.failbacks().first(),
        ),
        (
            "outlier_detection",
            traffic(old).outlier_detection != traffic(new).outlier_detection,
        ),
        ("hedge", traffic(old).hedge != traffic(new).hedge),
        (
            "probation",
            traffic(old).probation != traffic(new).probation,
        ),
        ("state", old.state.dir != new.state.dir),
    ];
    let different = sections.into_iter().filter(|(_, different)| *different);
    different.map(|(section, _)| format!("{section} changed"))
}

/// What of `new` has no effect before a restart.
#[must_use]
pub fn needs_restart(old: &Config, new: &Config) -> Vec<String> {
    let mut what = Vec::new();
    if old.workers != new.workers {
        what.push("workers".to_owned());
    }
    if old.admin.address != new.admin.address {
        what.push("admin.address".to_owned());
    }
    what
}

/// Adds a line for each name that came, went or means something else.
fn compare<T: PartialEq>(
    noun: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    lines: &mut Vec<String>,
) {
    for (name, value) in new {
        match old.get(name) {
            None => lines.push(format!("{noun} {name} added")),
            Some(before) if before != value => lines.push(format!("{noun} {name} changed")),
            Some(_) => {}
        }
    }
    let gone = old.keys().filter(|name| !new.contains_key(*name));
    lines.extend(gone.map(|name| format!("{noun} {name} removed")));
}

/// Regions by name, without the place in the file: a line more above changes nothing.
fn regions(table: &RoutingTable) -> BTreeMap<String, Region> {
    let unplaced = |region: &Region| Region {
        written: Written::default(),
        ..region.clone()
    };
    let regions = table.regions.iter();
    regions
        .map(|region| (region.name.to_string(), unplaced(region)))
        .collect()
}

/// A route without places in the file, and with names for the numbers, which another table may
/// give to other regions.
#[derive(PartialEq)]
struct Meaning<'a> {
    /// The route, all that holds region numbers taken out.
    route: Route,
    order: Vec<&'a str>,
    weights: Vec<(&'a str, u32)>,
    prefer: Vec<Vec<&'a str>>,
    residency: Vec<Vec<&'a str>>,
    /// Only where it is not the table's own.
    failback: Option<FailbackConfig>,
}

fn routes(table: &RoutingTable) -> BTreeMap<String, Meaning<'_>> {
    let routes = (0..).map(RouteId).zip(&table.routes);
    routes
        .map(|(id, route)| (route.name.to_string(), meaning(table, id, route)))
        .collect()
}

fn meaning<'a>(table: &'a RoutingTable, id: RouteId, written: &Route) -> Meaning<'a> {
    let name = |id: RegionId| table.region(id).name.as_ref();
    let names = |ids: &[RegionId]| ids.iter().map(|id| name(*id)).collect::<Vec<_>>();
    let mut route = written.clone();
    route.written = Written::default();
    route.policy_written = Written::default();
    let order = names(&route.order);
    route.order.clear();
    route.regions = RegionSet::EMPTY;
    let weights = match &mut route.policy {
        Policy::Weighted(weights) => {
            let named = weights.iter().map(|(id, weight)| (name(*id), *weight));
            let named = named.collect();
            weights.clear();
            named
        }
        _ => Vec::new(),
    };
    let mut prefer = Vec::new();
    for line in &mut route.prefer {
        prefer.push(names(&line.regions));
        line.regions.clear();
        line.written = Written::default();
    }
    let mut residency = Vec::new();
    for line in &mut route.residency {
        residency.push(line.regions.iter().map(name).collect());
        line.regions = RegionSet::EMPTY;
        line.written = Written::default();
    }
    let failback = table.failback_of(id);
    let failback = (failback != FailbackId::TABLE).then(|| table.failbacks()[failback.index()]);
    Meaning {
        route,
        order,
        weights,
        prefer,
        residency,
        failback,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use meridian_core::config::{self, Reader};
    use meridian_core::table::origin::{Origin, OriginHost, ProbeSpec, UpstreamSpec};
    use meridian_core::table::policy::{RetryPolicy, UpstreamTimeouts};
    use meridian_core::table::route::HostPattern;

    fn region(name: &str, line: u32) -> Region {
        Region {
            name: name.into(),
            origins: vec![Origin {
                tls: false,
                host: OriginHost::Address([127, 0, 0, 1].into()),
                port: 80,
            }],
            upstream: UpstreamSpec::default(),
            place: None,
            probe: ProbeSpec::default(),
            written: Written { file: 0, line },
        }
    }

    fn route(order: &[u8]) -> Route {
        let order: Vec<_> = order.iter().copied().map(RegionId).collect();
        Route {
            name: "api".into(),
            host: HostPattern::Any,
            path: "/".to_owned(),
            regions: order.iter().copied().collect(),
            order,
            policy: Policy::Latency,
            prefer: Vec::new(),
            residency: Vec::new(),
            retry: RetryPolicy::default(),
            timeouts: UpstreamTimeouts::default(),
            written: Written::default(),
            policy_written: Written::default(),
        }
    }

    fn differences(old: &RoutingTable, new: &RoutingTable) -> Vec<String> {
        let mut lines = Vec::new();
        compare("region", &regions(old), &regions(new), &mut lines);
        compare("route", &routes(old), &routes(new), &mut lines);
        lines
    }

    #[test]
    fn a_region_more_does_not_change_the_routes_that_do_not_use_it() {
        let old = RoutingTable::new(Vec::new(), vec![region("b", 1)], vec![route(&[0])]);
        let regions = vec![region("a", 1), region("b", 5)];
        let new = RoutingTable::new(Vec::new(), regions, vec![route(&[1])]);
        assert_eq!(differences(&old, &new), ["region a added"]);
    }

    #[test]
    fn a_route_that_means_another_region_is_changed() {
        let both = || vec![region("a", 1), region("b", 2)];
        let old = RoutingTable::new(Vec::new(), both(), vec![route(&[0])]);
        let new = RoutingTable::new(Vec::new(), both(), vec![route(&[1])]);
        assert_eq!(differences(&old, &new), ["route api changed"]);
        let new = RoutingTable::new(Vec::new(), both(), Vec::new());
        assert_eq!(differences(&old, &new), ["route api removed"]);
    }

    /// A configuration with these lines more, above and in its route.
    fn config(lines: &str, of_route: &str) -> Config {
        let text = format!(
            r#"
            {lines}
            [[listener]]
            address = "127.0.0.1:8080"
            [region.a]
            origins = ["https://a.example"]
            [[route]]
            name = "api"
            regions = ["a"]
            {of_route}
            "#
        );
        let reader = Reader {
            read: &|_| Ok(text.clone()),
            list: &|_| Ok(Vec::new()),
            env: &|_| None,
        };
        config::load(Path::new("/meridian.toml"), &reader).unwrap()
    }

    #[test]
    fn a_section_that_changed_is_named() {
        for (section, key) in [
            ("failback", "hold_down = \"90s\""),
            ("outlier_detection", "consecutive_failures = 9"),
            ("hedge", "times_p99 = 9"),
            ("probation", "answers = 9"),
        ] {
            let new = config(&format!("[{section}]\n{key}"), "");
            let told = changes(&config("", ""), &new, &[]);
            assert_eq!(told, [format!("{section} changed")]);
        }
        let new = config("", "failback = { hold_down = \"90s\" }");
        assert_eq!(changes(&config("", ""), &new, &[]), ["route api changed"]);
    }
}
