//! Hours of virtual time through `apply`: noise, outages, DNS changes and reloads from a seed.
//!
//! A failure prints its seed; the same seed replays the same hours.

mod endpoints;
mod lateness;
mod requests;
mod thresholds;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_core::apply::{Beliefs, Event, LateAnswers, WindowCount, apply};
use meridian_core::change::{Change, What};
use meridian_core::config::{FailbackConfig, FailbackMode};
use meridian_core::decide::decide;
use meridian_core::decide::request::RequestFacts;
use meridian_core::decide::snapshot::{AdminState, Snapshot};
use meridian_core::health::breadth::Breadth;
use meridian_core::health::rise_fall::Health;
use meridian_core::health::schedule::next_probe;
use meridian_core::health::traffic_count::TrafficCount;
use meridian_core::model::id::{EndpointId, RegionId, RouteId};
use meridian_core::model::outcome::{ErrorKind, Phases, ProbeFailure, ProbeOutcome};
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::{UnknownViewer, Viewer, ViewerSource};
use meridian_core::table::origin::{Origin, OriginHost, ProbeSpec, Region, UpstreamSpec};
use meridian_core::table::policy::{Policy, RetryPolicy, UpstreamTimeouts};
use meridian_core::table::route::{HostPattern, Route};
use meridian_core::table::traffic_policy::ProbationPolicy;
use meridian_core::table::{RoutingTable, Written};

fn region(name: &str) -> Region {
    Region {
        name: Arc::from(name),
        origins: vec![Origin {
            tls: true,
            host: OriginHost::Name(Arc::from(format!("{name}.example.com"))),
            port: 443,
        }],
        upstream: UpstreamSpec::default(),
        place: None,
        probe: ProbeSpec::default(),
        written: Written::default(),
    }
}

fn table(names: &[&str]) -> Arc<RoutingTable> {
    let regions = names.iter().map(|name| region(name)).collect();
    Arc::new(RoutingTable::new(Vec::new(), regions, Vec::new()))
}

fn load(table: Arc<RoutingTable>) -> Event {
    Event::Table {
        table,
        unknown: UnknownViewer::Any,
    }
}

fn address(region: u8, host: u8) -> SocketAddr {
    SocketAddr::from(([10, region, 0, host], 443))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A proxy's beliefs, its probes, and the regions they ask.
struct World {
    random: fastrand::Rng,
    now: Timestamp,
    beliefs: Beliefs,
    /// What is published of them.
    snapshot: Snapshot,
    due: BTreeMap<EndpointId, Timestamp>,
    changes: Vec<Change>,
    /// By region number: milliseconds, and how many of noise on top.
    latency: Vec<(f64, f64)>,
    down: BTreeSet<u8>,
    /// How many of 100 probes get lost.
    loss: u8,
}

impl World {
    fn new(seed: u64, names: &[&str], latency: &[(f64, f64)]) -> Self {
        Self::with(seed, table(names), latency)
    }

    fn with(seed: u64, start: Arc<RoutingTable>, latency: &[(f64, f64)]) -> Self {
        let count = start.regions.len() as u8;
        let mut world = Self {
            random: fastrand::Rng::with_seed(seed),
            now: Timestamp::ZERO,
            beliefs: Beliefs::default(),
            snapshot: Snapshot::default(),
            due: BTreeMap::new(),
            changes: Vec::new(),
            latency: latency.to_vec(),
            down: BTreeSet::new(),
            loss: 0,
        };
        world.tell(load(start));
        for region in 0..count {
            world.resolve(region, &[1]);
        }
        world
    }

    fn resolve(&mut self, region: u8, hosts: &[u8]) {
        self.tell(Event::Resolved {
            generation: self.beliefs.generation,
            region: RegionId(region),
            origin: 0,
            addresses: hosts.iter().map(|host| address(region, *host)).collect(),
        });
    }

    fn tell(&mut self, event: Event) {
        let keeps_endpoints = matches!(event, Event::Probed { .. } | Event::Tick);
        let was_probe = matches!(event, Event::Probed { .. });
        let (beliefs, changes) = apply(&self.beliefs, event, self.now);
        self.beliefs = beliefs;
        self.snapshot = self.beliefs.snapshot();
        self.changes.extend(changes);
        self.check();
        if !was_probe {
            self.probe_what_is_suspected();
        }
        if keeps_endpoints {
            return;
        }
        let endpoints = self
            .beliefs
            .regions
            .iter()
            .flat_map(|region| region.endpoints.iter());
        let living: BTreeSet<_> = endpoints.map(|endpoint| endpoint.id).collect();
        self.due.retain(|id, _| living.contains(id));
        for id in living {
            self.due.entry(id).or_insert(self.now);
        }
    }

    /// A request cast doubt on it just now: its next probe is due.
    fn probe_what_is_suspected(&mut self) {
        for region in &self.beliefs.regions {
            for endpoint in region.endpoints.iter() {
                if endpoint.standing.suspected() == Some(self.now) {
                    self.due.insert(endpoint.id, self.now);
                }
            }
        }
    }

    /// What holds after any event.
    fn check(&self) {
        let snapshot = &self.snapshot;
        let mut slots = BTreeSet::new();
        for (index, region) in self.beliefs.regions.iter().enumerate() {
            for endpoint in region.endpoints.iter() {
                assert!(slots.insert(endpoint.id.slot), "two endpoints share a slot");
            }
            let serves = snapshot.serving.contains(RegionId::at(index));
            let well = region.health != Health::Unhealthy && !region.endpoints.is_empty();
            let may_serve = well || snapshot.correlated_failure || !region.availability.is_out();
            assert!(region.admin != AdminState::Auto || !well || serves);
            assert!(region.admin != AdminState::Auto || !serves || may_serve);
        }
        assert!(self.beliefs.slots.len() <= 64, "slots are reused");
        let ranked: BTreeSet<_> = snapshot.by_latency.iter().collect();
        assert_eq!(ranked.len(), snapshot.table.regions.len());
        assert_eq!(snapshot.by_latency.len(), snapshot.table.regions.len());
    }

    /// Runs all probes due within `span`.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((id, at)) = self.next_due().filter(|(_, at)| *at <= end) {
            self.now = self.now.max(at);
            let Some((region, _)) = self.snapshot.endpoint(id) else {
                continue;
            };
            let outcome = self.answer(region);
            self.tell(Event::Probed {
                endpoint: id,
                outcome,
            });
            let (_, endpoint) = self
                .snapshot
                .endpoint(id)
                .expect("a probe removes no endpoint");
            let spec = &self.beliefs.table.region(region).probe;
            let gap = next_probe(spec, endpoint.standing.is_changing(), self.random.f64());
            self.due.insert(id, self.now + gap);
        }
        self.now = end;
        self.tell(Event::Tick);
    }

    fn next_due(&self) -> Option<(EndpointId, Timestamp)> {
        let soonest = self.due.iter().min_by_key(|(id, at)| (**at, **id))?;
        Some((*soonest.0, *soonest.1))
    }

    fn answer(&mut self, region: RegionId) -> ProbeOutcome {
        if self.down.contains(&region.0) || self.random.u8(..100) < self.loss {
            return ProbeOutcome::Failed(ProbeFailure::Timeout { limit: seconds(2) });
        }
        let (base, noise) = self.latency[region.index()];
        let millis = base + noise * (2.0 * self.random.f64() - 1.0);
        let phases = Phases {
            first_byte: Some(Duration::from_secs_f64(millis.max(0.1) / 1e3)),
            ..Phases::default()
        };
        ProbeOutcome::Passed { phases, warm: true }
    }

    fn leader(&self) -> &str {
        &self.beliefs.table.region(self.snapshot.by_latency[0]).name
    }

    fn serves(&self, region: u8) -> bool {
        self.snapshot.serving.contains(RegionId(region))
    }

    fn moves(&self) -> usize {
        let is_move = |change: &&Change| matches!(change.what, What::Leader { .. });
        self.changes.iter().filter(is_move).count()
    }
}

/// Runs `script` for many seeds and names the seed that fails.
fn for_each_seed(count: u64, script: impl Fn(u64)) {
    struct Named(u64);
    impl Drop for Named {
        #[expect(
            clippy::print_stderr,
            reason = "the seed is what a failure is replayed by"
        )]
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {}", self.0);
            }
        }
    }
    for seed in 0..count {
        let _named = Named(seed);
        script(seed);
    }
}

#[test]
fn two_equal_regions_with_noise_never_flap() {
    for_each_seed(60, |seed| {
        let mut world = World::new(seed, &["east", "west"], &[(40.0, 5.0), (42.0, 5.0)]);
        world.loss = 1;
        world.pass(seconds(60));
        let settled = world.moves();
        world.pass(seconds(3600));
        assert!(world.moves() - settled <= 1, "{:?}", world.changes);
    });
}

#[test]
fn a_region_that_becomes_clearly_faster_leads_once() {
    for_each_seed(40, |seed| {
        let mut world = World::new(seed, &["east", "west"], &[(40.0, 3.0), (90.0, 3.0)]);
        world.pass(seconds(120));
        assert_eq!(world.leader(), "east");
        let before = world.moves();
        world.latency = vec![(90.0, 3.0), (40.0, 3.0)];
        world.pass(seconds(25));
        assert_eq!(world.leader(), "east", "the hold is not over");
        world.pass(seconds(95));
        assert_eq!(world.leader(), "west");
        world.pass(seconds(1200));
        assert_eq!(world.moves() - before, 1);
    });
}

#[test]
fn a_dead_region_leaves_in_time_and_returns_after_rise() {
    for_each_seed(100, |seed| {
        let mut world = World::new(seed, &["east", "west"], &[(5.0, 1.0), (40.0, 4.0)]);
        world.pass(seconds(60 + seed % 10));
        assert!(world.serves(0) && world.leader() == "east");
        world.down.insert(0);
        // One jittered interval, then `fall` fast ones.
        world.pass(Duration::from_millis(6000 + 3 * 1200));
        assert!(!world.serves(0) && world.serves(1));
        assert_eq!(world.leader(), "west");
        world.pass(seconds(600));
        assert!(!world.serves(0));
        world.down.remove(&0);
        world.pass(Duration::from_millis(6000 + 2 * 1200));
        assert!(world.serves(0));
        assert_eq!(world.leader(), "east");
    });
}

#[test]
fn traffic_ejects_before_probes_do() {
    let mut world = World::new(1, &["east", "west"], &[(5.0, 1.0), (40.0, 4.0)]);
    world.pass(seconds(60));
    let endpoint = world.beliefs.regions[0].endpoints[0].id;
    let failed = |kind| Event::TrafficFailed {
        endpoint,
        kind,
        in_a_row: 5,
    };
    world.tell(failed(ErrorKind::ViewerBody));
    assert!(world.serves(0), "a viewer's fault is not the region's");
    world.tell(failed(ErrorKind::ConnectRefused));
    assert!(!world.serves(0));
}

#[test]
fn a_region_whose_addresses_are_all_replaced_keeps_its_place() {
    for_each_seed(20, |seed| {
        let mut world = World::new(seed, &["east", "west"], &[(5.0, 1.0), (40.0, 4.0)]);
        world.pass(seconds(60));
        let before = world.moves();
        for host in 2..100 {
            world.resolve(0, &[host, host + 1]);
            assert!(world.serves(0));
            assert_eq!(world.leader(), "east");
            world.pass(seconds(7));
        }
        world.resolve(0, &[]);
        assert_eq!(
            world.beliefs.regions[0].endpoints.len(),
            2,
            "no answer is no news"
        );
        assert_eq!(world.moves(), before);
    });
}

#[test]
fn a_latency_that_nobody_renews_becomes_unknown() {
    let mut world = World::new(3, &["east", "west"], &[(5.0, 1.0), (40.0, 4.0)]);
    world.pass(seconds(30));
    world.now = world.now + seconds(61);
    world.tell(Event::Tick);
    assert!(
        world
            .beliefs
            .regions
            .iter()
            .all(|region| region.latency.is_none())
    );
    let revision = world.beliefs.revision;
    world.tell(Event::Tick);
    assert_eq!(
        world.beliefs.revision, revision,
        "a tick without a change is free"
    );
}

#[test]
fn a_reload_keeps_what_is_known_under_new_numbers() {
    let mut world = World::new(7, &["east", "west"], &[(90.0, 1.0), (40.0, 1.0)]);
    world.pass(seconds(30));
    world.tell(Event::Operator {
        region: "west".into(),
        state: AdminState::Drained,
    });
    let west = world.beliefs.regions[1].clone();
    world.tell(load(table(&["central", "east", "west"])));
    let after = &world.beliefs.regions[2];
    assert_eq!(after.endpoints[0].id, west.endpoints[0].id);
    assert_eq!(after.health, Health::Healthy);
    assert_eq!(
        (after.admin, after.latency),
        (AdminState::Drained, west.latency)
    );
    assert!(world.snapshot.drained.contains(RegionId(2)));
    assert!(!world.serves(0), "a new region has no address yet");
    assert_eq!(world.leader(), "west");
    assert_eq!(world.beliefs.generation, 2);
}

#[test]
fn the_operators_word_means_the_region_it_names_whatever_was_loaded_since() {
    let drain = || Event::Operator {
        region: "west".into(),
        state: AdminState::Drained,
    };
    let mut world = World::new(7, &["east", "west"], &[(90.0, 1.0), (40.0, 1.0)]);
    world.tell(load(table(&["central", "east", "west"])));
    world.tell(drain());
    assert!(world.snapshot.drained.iter().eq([RegionId(2)]));
    world.tell(load(table(&["central", "east"])));
    world.tell(drain());
    assert!(world.snapshot.drained.is_empty());
}

#[test]
fn a_region_spoken_to_differently_starts_anew_but_keeps_its_addresses() {
    let mut world = World::new(8, &["east"], &[(20.0, 1.0)]);
    world.pass(seconds(30));
    let before = world.beliefs.regions[0].endpoints[0].clone();
    let mut changed = region("east");
    changed.upstream.server_name = Some("other.example.com".to_owned());
    let table = RoutingTable::new(Vec::new(), vec![changed], Vec::new());
    world.tell(load(Arc::new(table)));
    let after = &world.beliefs.regions[0].endpoints[0];
    assert_eq!(after.address, before.address);
    assert_ne!(after.id, before.id);
    assert_eq!(after.health, Health::Unproven);
    assert!(world.serves(0));
}

#[test]
fn what_comes_late_is_ignored() {
    let mut world = World::new(9, &["east"], &[(20.0, 1.0)]);
    world.pass(seconds(10));
    let gone = world.beliefs.regions[0].endpoints[0].id;
    world.resolve(0, &[9]);
    let revision = world.beliefs.revision;
    world.tell(Event::Probed {
        endpoint: gone,
        outcome: ProbeOutcome::Failed(ProbeFailure::Refused),
    });
    world.tell(Event::Resolved {
        generation: world.beliefs.generation - 1,
        region: RegionId(0),
        origin: 0,
        addresses: vec![address(0, 77)],
    });
    assert_eq!(world.beliefs.revision, revision);
}

#[test]
fn nothing_breaks_in_hours_of_outages_reloads_and_new_addresses() {
    const NAMES: [&str; 4] = ["ap", "east", "north", "west"];
    for_each_seed(100, |seed| {
        let latency = [(120.0, 20.0), (5.0, 2.0), (7.0, 2.0), (40.0, 9.0)];
        let mut world = World::new(seed, &NAMES, &latency);
        world.loss = 2;
        for _ in 0..60 {
            let regions = world.beliefs.table.regions.len() as u8;
            let region = world.random.u8(..regions);
            match world.random.u8(..6) {
                0 => _ = world.down.insert(region),
                1 => _ = world.down.remove(&region),
                2 => {
                    let first = world.random.u8(..200);
                    world.resolve(region, &[first, first + 1, first + 2]);
                }
                3 => {
                    let count = world.random.usize(1..=NAMES.len());
                    world.tell(load(table(&NAMES[..count])));
                }
                4 => {
                    let words = [AdminState::Auto, AdminState::Drained, AdminState::Forced];
                    let state = words[world.random.usize(..words.len())];
                    let region = NAMES[usize::from(region)].into();
                    world.tell(Event::Operator { region, state });
                }
                _ => {}
            }
            let span = world.random.u64(1..120);
            world.pass(seconds(span));
        }
    });
}

/// Short, so that thousands of outages fit into seconds.
const SHORT: FailbackConfig = FailbackConfig {
    mode: FailbackMode::Auto,
    hold_down: Duration::from_secs(20),
    hold_down_at_least: Duration::from_secs(2),
    ramp: Duration::from_secs(40),
};

/// East before west, and an island that no viewer may be sent to.
fn routed() -> Arc<RoutingTable> {
    let regions = ["east", "island", "west"].map(region).to_vec();
    let route = route_over(&[RegionId(0), RegionId(2)]);
    let table = RoutingTable::new(Vec::new(), regions, vec![route]);
    Arc::new(table.with_failback(SHORT, &BTreeMap::new()))
}

/// A route for all requests, to the first of `order` that serves.
fn route_over(order: &[RegionId]) -> Route {
    Route {
        name: Arc::from("all"),
        host: HostPattern::Any,
        path: "/".to_owned(),
        regions: order.iter().copied().collect(),
        order: order.to_vec(),
        policy: Policy::Failover,
        prefer: Vec::new(),
        residency: Vec::new(),
        retry: RetryPolicy::default(),
        timeouts: UpstreamTimeouts::default(),
        written: Written::default(),
        policy_written: Written::default(),
    }
}

/// Where each of a few viewers goes now.
fn choices(world: &World) -> Vec<RegionId> {
    let viewers = (0..4_u8).map(|host| Viewer {
        address: [203, 0, 113, host.wrapping_mul(61)].into(),
        country: None,
        source: ViewerSource::Unknown,
        place: None,
    });
    let choices = viewers.map(|viewer| {
        let facts = RequestFacts::get(None, "/", &viewer);
        let decision = decide(&world.snapshot, &facts).expect("two regions are permitted");
        let all = decision.ranked().all();
        assert!(!all.contains(&RegionId(1)), "the island is not permitted");
        all[0]
    });
    choices.collect()
}

/// How often each viewer moved while `span` passed, looked at every few seconds.
fn watch(world: &mut World, span: u64, moves: &mut [u32]) {
    let mut before = choices(world);
    for _ in 0..span.div_ceil(4) {
        world.pass(seconds(4));
        let now = choices(world);
        for (moved, (before, now)) in moves.iter_mut().zip(before.iter().zip(&now)) {
            *moved += u32::from(before != now);
        }
        before = now;
    }
}

/// Runs `script` for many seeds on every core.
fn for_each_seed_on_all_cores(count: u64, script: impl Fn(u64) + Sync) {
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    std::thread::scope(|scope| {
        for first in 0..threads {
            let script = &script;
            scope.spawn(move || {
                for_each_seed(count.div_ceil(threads), |turn| {
                    script(turn * threads + first);
                });
            });
        }
    });
}

#[test]
fn an_outage_costs_each_viewer_one_move_away_and_one_back() {
    for_each_seed_on_all_cores(10_000, |seed| {
        let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
        let mut world = World::with(seed, routed(), &latency);
        world.pass(seconds(10 + seed % 7));
        assert!(choices(&world).iter().all(|region| region.0 == 0));
        let mut moves = [0; 4];
        world.down.insert(0);
        let outage = world.random.u64(12..40);
        watch(&mut world, outage, &mut moves);
        assert!(choices(&world).iter().all(|region| region.0 == 2));
        world.down.remove(&0);
        // Until its probes are seen to pass, the hold, the ramp, and a look at each.
        watch(&mut world, 10 + 20 + 40 + 10, &mut moves);
        assert!(
            choices(&world).iter().all(|region| region.0 == 0),
            "seed {seed}"
        );
        assert_eq!(moves, [2; 4], "seed {seed}");
    });
}

#[test]
fn a_region_that_goes_up_and_down_moves_viewers_less_and_less() {
    for_each_seed_on_all_cores(50, |seed| {
        let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
        let mut world = World::with(seed, routed(), &latency);
        world.pass(seconds(30));
        let mut moves = [0; 4];
        for _ in 0..40 {
            world.down.insert(0);
            let span = world.random.u64(8..30);
            watch(&mut world, span, &mut moves);
            world.down.remove(&0);
            let span = world.random.u64(8..40);
            watch(&mut world, span, &mut moves);
        }
        assert!(
            moves.iter().all(|moves| *moves <= 6),
            "seed {seed}: {moves:?}"
        );
    });
}

#[test]
fn what_fails_everywhere_at_once_costs_no_hold() {
    for_each_seed_on_all_cores(50, |seed| {
        let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
        let mut world = World::with(seed, routed(), &latency);
        world.pass(seconds(30));
        world.down.extend([0, 1, 2]);
        for _ in 0..30 {
            world.pass(seconds(1));
        }
        world.down.clear();
        for _ in 0..10 {
            world.pass(seconds(1));
        }
        assert!(
            choices(&world).iter().all(|region| region.0 == 0),
            "seed {seed}"
        );
    });
}

/// Counts of one viewer's requests for one path, those that fail at several moments.
fn spread() -> TrafficCount {
    let mark = Breadth::of([203, 0, 113, 1].into(), "/");
    let mut count = TrafficCount::default();
    count.seen.add(mark);
    for second in 0..5 {
        let now = Timestamp::after_start(Duration::from_millis(second * 30));
        count.failing.add(mark.failed_at(now));
    }
    count
}

#[test]
fn requests_that_fail_in_one_region_alone_take_it_out_and_probation_brings_it_back() {
    let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
    let mut world = World::with(5, routed(), &latency);
    world.pass(seconds(30));
    let window = |world: &World, east: (u32, u32), west: (u32, u32)| {
        let count = |region, (requests, failures)| WindowCount {
            route: RouteId(0),
            region: RegionId(region),
            count: TrafficCount {
                requests,
                failures,
                ..spread()
            },
            first_byte: None,
        };
        Event::TrafficWindow {
            generation: world.beliefs.generation,
            counts: vec![count(0, east), count(2, west)],
        }
    };
    let alike = window(&world, (40, 40), (40, 40));
    world.tell(alike);
    assert!(world.serves(0) && world.serves(2), "all fail alike");
    world.pass(seconds(10));
    let gray = window(&world, (40, 25), (40, 0));
    world.tell(gray);
    assert!(!world.serves(0) && world.serves(2));
    world.pass(seconds(10));
    assert!(!world.serves(0) && world.snapshot.probation.contains(RegionId(0)));
    let endpoint = world.beliefs.regions[0].endpoints[0].id;
    let tried = |good| Event::ProbationAnswered { endpoint, good };
    world.tell(tried(false));
    assert!(
        world.snapshot.probation.is_empty(),
        "its probes have to pass again"
    );
    world.pass(seconds(10));
    for _ in 0..ProbationPolicy::default().answers {
        assert!(!world.serves(0));
        world.tell(tried(true));
    }
    assert!(world.serves(0));
    assert!(choices(&world).iter().all(|region| region.0 == 2), "held");
    for _ in 0..60 {
        world.pass(seconds(1));
    }
    assert!(choices(&world).iter().all(|region| region.0 == 0));
}

#[test]
fn the_last_region_is_not_left_for_being_late() {
    let latency = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];
    let mut world = World::with(6, routed(), &latency);
    world.pass(seconds(30));
    for region in [0, 2] {
        let endpoint = world.beliefs.regions[region].endpoints[0].id;
        world.tell(Event::Suspected { endpoint });
        world.pass(seconds(6));
        world.tell(Event::TrafficLate {
            endpoint,
            lates: LateAnswers {
                in_a_row: 5,
                compared: true,
                lasted: seconds(1),
                answered: false,
            },
        });
    }
    assert!(!world.serves(0) && world.serves(2));
}
