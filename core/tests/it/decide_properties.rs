//! What holds for every decision, and for every way to a route.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meridian_core::decide::snapshot::AdminState;
use meridian_core::decide::{NoDecision, decide, exclusions};
use meridian_core::model::id::{RegionId, RegionSet, RouteId};
use meridian_core::model::viewer::{UnknownViewer, Viewer};
use meridian_core::table::index::RouteIndex;
use meridian_core::table::path::matched_path;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::{HostPattern, Route};
use proptest::prelude::*;

use crate::support::world::{THIRTY, World, facts, viewer};

const REGIONS: usize = 8;
const COUNTRIES: [Option<&str>; 6] = [
    None,
    Some("DE"),
    Some("NO"),
    Some("US"),
    Some("JP"),
    Some("BR"),
];
const GROUPS: [&str; 6] = ["DE", "@eu", "@eea", "@europe", "@asia", "US"];

/// A route over some of eight regions, and what is believed of each.
#[derive(Clone, Debug)]
struct Case {
    route: Vec<usize>,
    policy: u8,
    weights: Vec<u32>,
    prefer: BTreeMap<usize, Vec<usize>>,
    residency: Vec<(usize, Vec<usize>)>,
    /// By region: 0 drained, 1 down, 2 never resolved, 3 forced though down, else milliseconds.
    state: Vec<u8>,
    country: usize,
    refuse: bool,
    address: u32,
}

fn some_regions(least: usize) -> impl Strategy<Value = Vec<usize>> {
    Just((0..REGIONS).collect::<Vec<_>>())
        .prop_shuffle()
        .prop_flat_map(move |all| (least..=REGIONS).prop_map(move |len| all[..len].to_vec()))
}

fn case() -> impl Strategy<Value = Case> {
    let beliefs = (
        prop::collection::vec(0_u8..20, REGIONS),
        0..COUNTRIES.len(),
        any::<bool>(),
        any::<u32>(),
    );
    let lines = (
        prop::collection::btree_map(0..GROUPS.len(), some_regions(1), 0..3),
        prop::collection::vec((0..GROUPS.len(), some_regions(0)), 0..3),
    );
    let weights = prop::collection::vec(1_u32..100, REGIONS);
    (some_regions(1), 0_u8..4, weights, lines, beliefs).prop_map(
        |(route, policy, weights, (prefer, residency), (state, country, refuse, address))| Case {
            route,
            policy,
            weights,
            prefer,
            residency,
            state,
            country,
            refuse,
            address,
        },
    )
}

fn names(regions: &[usize]) -> Vec<&'static str> {
    regions.iter().map(|region| THIRTY[*region]).collect()
}

impl Case {
    fn world(&self) -> World {
        let mut world = World::new(&THIRTY[..REGIONS]);
        for (region, state) in THIRTY.iter().zip(&self.state) {
            match state {
                0 => world.admin(region, AdminState::Drained),
                1 => world.down(region),
                2 => world.unresolved(region),
                3 => {
                    world.down(region);
                    world.admin(region, AdminState::Forced);
                }
                latency => world.measured(region, f64::from(*latency)),
            }
        }
        let policy = match self.policy {
            0 => Policy::Latency,
            1 => Policy::Failover,
            2 => Policy::Geo,
            _ => {
                let weighed = self.route.iter().zip(&self.weights).skip(1);
                Policy::Weighted(weighed.map(|(r, w)| (RegionId::at(*r), *w)).collect())
            }
        };
        world.route("api", "/", &names(&self.route), policy);
        let prefer: Vec<_> = self.prefer.iter().map(|(g, r)| (*g, names(r))).collect();
        let prefer: Vec<_> = prefer.iter().map(|(g, r)| (GROUPS[*g], &r[..])).collect();
        world.prefer(&prefer);
        let residency: Vec<_> = self.residency.iter().map(|(g, r)| (*g, names(r))).collect();
        let residency: Vec<_> = residency
            .iter()
            .map(|(g, r)| (GROUPS[*g], &r[..]))
            .collect();
        world.residency(&residency);
        if self.refuse {
            world.unknown(UnknownViewer::Refuse);
        }
        world
    }

    fn viewer(&self) -> Viewer {
        Viewer {
            address: IpAddr::from(self.address.to_be_bytes()),
            ..viewer(COUNTRIES[self.country])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_region_is_ranked_or_excluded_and_never_both(case in case()) {
        let snapshot = case.world().snapshot();
        let viewer = case.viewer();
        let facts = facts("/", &viewer);
        let decision = decide(&snapshot, &facts);
        let serving = decision.map(|d| d.ranked().serving().to_vec()).unwrap_or_default();
        let mut seen: Vec<_> = exclusions(&snapshot, &facts).iter().map(|(r, _)| *r).collect();
        seen.extend(serving);
        seen.sort();
        let all: Vec<_> = RegionSet::first(REGIONS).iter().collect();
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn nothing_leaves_the_permitted_set_and_a_serving_region_goes_first(case in case()) {
        let snapshot = case.world().snapshot();
        let viewer = case.viewer();
        let route = &snapshot.table.routes[0];
        match decide(&snapshot, &facts("/", &viewer)) {
            Ok(decision) => {
                let (permitted, ranked) = (decision.permitted(), decision.ranked());
                prop_assert_eq!(Some(permitted), route.permitted(viewer.country, snapshot.unknown));
                let permitted = permitted.regions();
                let tried: RegionSet = ranked.all().iter().copied().collect();
                prop_assert_eq!(tried, permitted.without(snapshot.drained));
                prop_assert_eq!(tried.len(), ranked.all().len());
                let able: RegionSet = ranked.serving().iter().copied().collect();
                prop_assert_eq!(able, permitted.and(snapshot.serving));
            }
            Err(NoDecision::UnknownViewer(_)) => {
                prop_assert!(case.refuse && viewer.country.is_none() && !route.residency.is_empty());
            }
            Err(NoDecision::NoRegion(_)) => {
                let permitted = route.permitted(viewer.country, snapshot.unknown).unwrap();
                prop_assert!(permitted.without(snapshot.drained).is_empty());
            }
            Err(NoDecision::NoRoute) => prop_assert!(false, "the route takes every path"),
        }
    }

    #[test]
    fn the_order_of_the_file_changes_nothing(case in case()) {
        let viewer = case.viewer();
        let snapshot = case.world().snapshot();
        let before = decide(&snapshot, &facts("/", &viewer));
        prop_assert_eq!(before, decide(&snapshot, &facts("/", &viewer)));
        if case.policy == 1 {
            return Ok(());
        }
        let mut world = case.world();
        let route = world.last();
        route.order.reverse();
        route.residency.reverse();
        if let Policy::Weighted(weights) = &mut route.policy {
            weights.reverse();
        }
        let after = decide(&world.snapshot(), &facts("/", &viewer));
        prop_assert_eq!(before, after);
    }

    #[test]
    fn a_matched_path_never_rises_above_the_root(raw in "/?([a-c%2eEfF./]{0,3}/?){0,6}") {
        let path = matched_path(&raw);
        prop_assert!(!path.split('/').any(|segment| segment == ".."), "{path}");
        prop_assert!(!path.contains("//"), "{path}");
        let again = matched_path(&path).into_owned();
        prop_assert!(again == *path || path.contains('%'), "{path} then {again}");
    }

    #[test]
    fn the_index_finds_what_a_scan_finds(
        patterns in prop::collection::vec((0_u8..3, "[ab](\\.[ab]){0,2}", "/[ab/]{0,5}"), 0..40),
        requests in prop::collection::vec(("[abAB](\\.[ab]){0,3}\\.?(:80)?", "/[ab/]{0,7}"), 1..20),
    ) {
        let routes: Vec<Route> = patterns.into_iter().map(|(kind, host, path)| {
            let mut world = World::new(&THIRTY[..1]);
            world.route("r", &path, &THIRTY[..1], Policy::Latency);
            let host = match kind {
                0 => HostPattern::Exact(host),
                1 => HostPattern::Suffix(host),
                _ => HostPattern::Any,
            };
            Route { host, ..world.last().clone() }
        }).collect();
        let index = RouteIndex::new(&routes);
        for (host, path) in requests {
            prop_assert_eq!(index.find(Some(&host), &path), scan(&routes, &host, &path));
        }
    }
}

/// The most specific host with a matching prefix, then the longest prefix, then the first.
fn scan(routes: &[Route], host: &str, path: &str) -> Option<RouteId> {
    let host = host.to_ascii_lowercase();
    let host = host.split(':').next().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host);
    let fitting = (0..).zip(routes).filter_map(|(id, route)| {
        let specificity = match &route.host {
            HostPattern::Exact(name) => (host == name).then_some(usize::MAX),
            HostPattern::Suffix(suffix) => host
                .strip_suffix(suffix.as_str())
                .filter(|rest| rest.len() > 1 && rest.ends_with('.'))
                .map(|_| suffix.len()),
            HostPattern::Any => Some(0),
        }?;
        let fits = path.starts_with(&route.path);
        fits.then_some((specificity, route.path.len(), std::cmp::Reverse(id)))
    });
    fitting.max().map(|(_, _, id)| RouteId(id.0))
}

#[test]
fn a_detour_into_a_bound_path_meets_its_residency() {
    let mut world = World::new(&THIRTY);
    world.route(
        "public",
        "/public",
        &["us-east-1", "eu-west-1"],
        Policy::Latency,
    );
    world.route("admin", "/admin", &["eu-west-1"], Policy::Latency);
    let table = world.table();
    for raw in [
        "/public/..%2fadmin",
        "/public/%2e%2e/admin",
        "/public/x/../../admin",
        "//admin",
    ] {
        let found = table.route_for(None, &matched_path(raw));
        assert_eq!(found, Some(RouteId(1)), "{raw}");
    }
}
