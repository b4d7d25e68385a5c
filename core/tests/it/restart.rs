//! A restart at any moment of any outage: what a request would see is the same before and after.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_core::apply::{Beliefs, Event, SavedBeliefs, apply};
use meridian_core::decide::snapshot::AdminState;
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::{ErrorKind, Phases, ProbeFailure, ProbeOutcome};
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::UnknownViewer;
use meridian_core::table::RoutingTable;
use meridian_core::table::failback::FailbackId;
use meridian_core::table::origin::{OriginHost, ProbeSpec};

use crate::support::tables::{region, table};

const SEEDS: u64 = 400;
const EVENTS: usize = 80;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Two regions at addresses and one behind a name.
fn regions() -> Arc<RoutingTable> {
    let fixed = |name: &str, last: u8| {
        let host = OriginHost::Address([10, 0, 0, last].into());
        region(name, host, 80, ProbeSpec::default())
    };
    let name = OriginHost::Name("api.example".into());
    let named = region("c", name, 80, ProbeSpec::default());
    table(vec![fixed("a", 1), fixed("b", 2), named])
}

/// One process after the other, each with a clock of its own.
struct World {
    random: fastrand::Rng,
    now: Timestamp,
    beliefs: Beliefs,
}

impl World {
    fn start(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: Timestamp::ZERO,
            beliefs: started(),
        }
    }

    fn tell(&mut self, event: Event) {
        self.beliefs = apply(&self.beliefs, event, self.now).0;
    }

    /// Anything may happen, faults more often than not.
    fn live(&mut self) {
        self.now = self.now + Duration::from_millis(self.random.u64(1..8000));
        let event = match self.random.u8(..20) {
            0 => self.resolved(),
            1 => Event::Operator {
                region: (*self.any(&["a", "b", "c"])).into(),
                state: *self.any(&[AdminState::Auto, AdminState::Auto, AdminState::Drained]),
            },
            2..6 => Event::Tick,
            about => match self.event_of_an_endpoint(about) {
                Some(event) => event,
                None => Event::Tick,
            },
        };
        self.tell(event);
    }

    fn resolved(&mut self) -> Event {
        let hosts = self.random.u8(1..4);
        let address = |host| SocketAddr::from(([10, 0, 9, host], 80));
        Event::Resolved {
            generation: self.beliefs.generation,
            region: RegionId(2),
            origin: 0,
            addresses: (hosts..hosts + 2).map(address).collect(),
        }
    }

    fn event_of_an_endpoint(&mut self, about: u8) -> Option<Event> {
        let regions = self.beliefs.regions.iter();
        let endpoints: Vec<_> = regions
            .flat_map(|region| region.endpoints.iter().map(|endpoint| endpoint.id))
            .collect();
        let endpoint = *endpoints.get(self.random.usize(..endpoints.len().max(1)))?;
        let failed = ProbeOutcome::Failed(ProbeFailure::Refused);
        Some(match about {
            6..9 => Event::TrafficFailed {
                endpoint,
                kind: ErrorKind::FirstByteTimeout,
                in_a_row: 5,
            },
            9..12 => Event::ProbationAnswered {
                endpoint,
                good: self.random.bool(),
            },
            12..16 => Event::Probed {
                endpoint,
                outcome: failed,
            },
            _ => Event::Probed {
                endpoint,
                outcome: ProbeOutcome::Passed {
                    phases: Phases {
                        first_byte: Some(Duration::from_millis(self.random.u64(1..200))),
                        ..Phases::default()
                    },
                    warm: self.random.bool(),
                },
            },
        })
    }

    fn any<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.random.usize(..of.len())]
    }

    /// Another process takes over what this one wrote `away` ago.
    fn restart(&mut self, away: Duration) {
        let unix = Duration::from_secs(1_700_000_000);
        let written = SavedBeliefs::of(&self.beliefs, self.now, unix);
        let text = serde_json::to_string(&written).unwrap();
        self.now = Timestamp::ZERO;
        self.beliefs = started();
        self.tell(Event::Restored {
            saved: Arc::new(serde_json::from_str(&text).unwrap()),
            away,
            keep_names: DAY,
        });
    }

    /// All that decides where requests go. Probation is not in it: it begins anew.
    fn seen(&self) -> String {
        let now = self.beliefs.regions.iter().map(|region| {
            let endpoints = region.endpoints.iter();
            let endpoints: Vec<_> = endpoints
                .map(|one| {
                    let estimate = one.latency.estimate(self.now).map(|one| one.median);
                    (one.address, one.health, estimate)
                })
                .collect();
            let fell = region
                .availability
                .down_since()
                .map(|at| self.now.since(at).as_secs());
            let stage = region.failback[0].stage();
            let stage = (stage.label(), stage.share());
            let known = (
                region.admin,
                region.health,
                region.availability.is_out(),
                fell,
            );
            let latency = region.latency.map(|latency| latency.median);
            format!("{known:?} {stage:?} {latency:?} {endpoints:?}\n")
        });
        let snapshot = &self.beliefs.snapshot();
        let sets = (snapshot.serving, snapshot.drained, &snapshot.limited);
        let order = (&snapshot.by_latency, snapshot.correlated_failure);
        format!("{}{sets:?} {order:?}", now.collect::<String>())
    }
}

fn started() -> Beliefs {
    let table = Event::Table {
        table: regions(),
        unknown: UnknownViewer::default(),
    };
    apply(&Beliefs::default(), table, Timestamp::ZERO).0
}

#[test]
fn a_restart_at_any_moment_changes_nothing_that_a_request_can_see() {
    for seed in 0..SEEDS {
        let mut world = World::start(seed);
        for event in 0..EVENTS {
            world.live();
            if world.random.u8(..10) > 0 {
                continue;
            }
            // What time brings is not the restart's doing.
            world.tell(Event::Tick);
            let before = world.seen();
            world.restart(Duration::ZERO);
            assert_eq!(world.seen(), before, "seed {seed}, event {event}");
        }
    }
}

#[test]
fn what_is_down_is_down_however_long_the_restart_takes_and_returns_when_it_is_well() {
    for seed in 0..SEEDS / 10 {
        let mut world = World::start(seed);
        for _ in 0..EVENTS {
            world.live();
        }
        let health = |world: &World| -> Vec<_> {
            let regions = world.beliefs.regions.iter();
            regions
                .map(|region| (region.health, region.admin))
                .collect()
        };
        let before = health(&world);
        world.restart(Duration::from_secs(seed * 1000));
        assert_eq!(health(&world), before, "seed {seed}");
        // Probes pass from now on, and probation requests get good answers: all is as if it had never been.
        for _ in 0..600 {
            world.now = world.now + Duration::from_secs(5);
            let regions = world.beliefs.regions.iter();
            let ids: Vec<_> = regions
                .flat_map(|region| region.endpoints.iter().map(|one| one.id))
                .collect();
            for endpoint in ids {
                let outcome = ProbeOutcome::Passed {
                    phases: Phases::default(),
                    warm: true,
                };
                world.tell(Event::Probed { endpoint, outcome });
                world.tell(Event::ProbationAnswered {
                    endpoint,
                    good: true,
                });
            }
            world.tell(Event::Tick);
        }
        for region in &world.beliefs.snapshot().regions {
            let there = !region.endpoints.is_empty();
            assert!(
                region.share(FailbackId::TABLE) == 100 || !there,
                "seed {seed}: {region:?}"
            );
        }
    }
}
