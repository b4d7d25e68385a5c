//! Snapshots made the way the board makes them: a table, addresses, and what probes found.

#![allow(
    dead_code,
    reason = "benches include this file too, and each binary uses a part of it"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_core::apply::{Beliefs, Event, apply};
use meridian_core::decide::request::RequestFacts;
use meridian_core::decide::snapshot::{AdminState, Snapshot};
use meridian_core::model::country::{Country, CountryGroup};
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::{ErrorKind, Phases, ProbeFailure, ProbeOutcome};
use meridian_core::model::place::known_region;
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::{UnknownViewer, Viewer, ViewerSource};
use meridian_core::table::origin::{Origin, OriginHost, ProbeSpec, Region, UpstreamSpec};
use meridian_core::table::policy::{Policy, Preference, RetryPolicy, UpstreamTimeouts};
use meridian_core::table::residency::Residency;
use meridian_core::table::route::{HostPattern, Route};
use meridian_core::table::{RoutingTable, Written};

/// The moment a world's probes were answered.
pub(crate) const MEASURED: Timestamp = Timestamp::ZERO;

/// The names of thirty regions, sorted.
pub(crate) const THIRTY: [&str; 30] = [
    "af-south-1",
    "ap-east-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ca-central-1",
    "ca-west-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
];

/// A region with one origin, in the place its name says.
pub(crate) fn region(name: &str) -> Region {
    Region {
        name: Arc::from(name),
        origins: vec![Origin {
            tls: true,
            host: OriginHost::Name(Arc::from(format!("{name}.example.com"))),
            port: 443,
        }],
        upstream: UpstreamSpec::default(),
        place: known_region(name),
        probe: ProbeSpec::default(),
        written: Written::default(),
    }
}

/// A line of the only file.
pub(crate) fn line(line: u32) -> Written {
    Written { file: 0, line }
}

/// What one line of a route's `prefer` or `residency` says: a group's key and regions.
pub(crate) type GroupLine<'a> = (&'a str, &'a [&'a str]);

/// Regions and routes on their way to a table, and what is believed of the regions.
pub(crate) struct World {
    names: Vec<String>,
    routes: Vec<Route>,
    unknown: UnknownViewer,
    /// In the order told: region and what was learned.
    learned: Vec<(RegionId, Learned)>,
}

#[derive(Clone, Copy)]
enum Learned {
    Latency(Duration),
    Down,
    Ejected,
    Admin(AdminState),
    NoAddress,
}

impl World {
    /// A world of these regions; each has an address, and nothing else is known.
    pub(crate) fn new(names: &[&str]) -> Self {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        Self {
            names,
            routes: Vec::new(),
            unknown: UnknownViewer::Any,
            learned: Vec::new(),
        }
    }

    pub(crate) fn id(&self, name: &str) -> RegionId {
        let position = self.names.iter().position(|known| known == name);
        RegionId::at(position.expect("a region of this world"))
    }

    /// Adds a route over `regions` for any host, written at line 10 times its position.
    pub(crate) fn route(&mut self, name: &str, path: &str, regions: &[&str], policy: Policy) {
        let order: Vec<RegionId> = regions.iter().map(|name| self.id(name)).collect();
        let start = 10 * (self.routes.len() as u32 + 1);
        self.routes.push(Route {
            name: Arc::from(name),
            host: HostPattern::Any,
            path: path.to_owned(),
            regions: order.iter().copied().collect(),
            order,
            policy,
            prefer: Vec::new(),
            residency: Vec::new(),
            retry: RetryPolicy::default(),
            timeouts: UpstreamTimeouts::default(),
            written: line(start),
            policy_written: line(start + 4),
        });
    }

    /// The route added last.
    pub(crate) fn last(&mut self) -> &mut Route {
        self.routes.last_mut().expect("a route was added")
    }

    /// Gives the last route preferences, the most specific group first.
    pub(crate) fn prefer(&mut self, lines: &[GroupLine<'_>]) {
        let start = self.last().written.line + 6;
        let mut prefer: Vec<Preference> = (start..)
            .zip(lines)
            .map(|(at, (key, names))| Preference {
                group: CountryGroup::parse(key).expect("a group"),
                regions: names.iter().map(|name| self.id(name)).collect(),
                written: line(at),
            })
            .collect();
        prefer.sort_by_key(|line| line.group);
        self.last().prefer = prefer;
    }

    /// Gives the last route residency lines.
    pub(crate) fn residency(&mut self, lines: &[GroupLine<'_>]) {
        let start = self.last().written.line + 8;
        let residency = (start..)
            .zip(lines)
            .map(|(at, (key, names))| Residency {
                group: CountryGroup::parse(key).expect("a group"),
                regions: names.iter().map(|name| self.id(name)).collect(),
                written: line(at),
            })
            .collect();
        self.last().residency = residency;
    }

    pub(crate) fn unknown(&mut self, unknown: UnknownViewer) {
        self.unknown = unknown;
    }

    /// Probes of `name` pass, with this median first byte.
    pub(crate) fn measured(&mut self, name: &str, milliseconds: f64) {
        let latency = Duration::from_secs_f64(milliseconds / 1e3);
        self.learned
            .push((self.id(name), Learned::Latency(latency)));
    }

    /// Probes of `name` fail.
    pub(crate) fn down(&mut self, name: &str) {
        self.learned.push((self.id(name), Learned::Down));
    }

    /// Requests to `name` fail.
    pub(crate) fn ejected(&mut self, name: &str) {
        self.learned.push((self.id(name), Learned::Ejected));
    }

    /// The operator's word on `name`.
    pub(crate) fn admin(&mut self, name: &str, state: AdminState) {
        self.learned.push((self.id(name), Learned::Admin(state)));
    }

    /// `name` was never resolved.
    pub(crate) fn unresolved(&mut self, name: &str) {
        self.learned.push((self.id(name), Learned::NoAddress));
    }

    /// The table alone.
    pub(crate) fn table(&self) -> RoutingTable {
        let regions = self.names.iter().map(|name| region(name)).collect();
        RoutingTable::new(
            vec!["meridian.toml".to_owned()],
            regions,
            self.routes.clone(),
        )
    }

    /// The event that loads the table.
    pub(crate) fn load(&self) -> Event {
        Event::Table {
            table: Arc::new(self.table()),
            unknown: self.unknown,
        }
    }

    /// What the board publishes when all that was told has happened.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.beliefs().snapshot()
    }

    /// What the board believes then.
    pub(crate) fn beliefs(&self) -> Beliefs {
        let mut beliefs = Beliefs::default();
        let mut tell = |event: &dyn Fn(&Beliefs) -> Option<Event>| {
            if let Some(event) = event(&beliefs) {
                beliefs = apply(&beliefs, event, MEASURED).0;
            }
        };
        tell(&|_| Some(self.load()));
        for region in (0..self.names.len()).map(RegionId::at) {
            let unresolved = |(id, learned): &(RegionId, Learned)| {
                *id == region && matches!(learned, Learned::NoAddress)
            };
            if !self.learned.iter().any(unresolved) {
                tell(&|beliefs| {
                    Some(Event::Resolved {
                        generation: beliefs.generation,
                        region,
                        origin: 0,
                        addresses: vec![SocketAddr::from(([10, region.0, 0, 1], 443))],
                    })
                });
            }
        }
        for (region, learned) in &self.learned {
            for _ in 0..3 {
                tell(&|beliefs| learned.event(beliefs, *region));
            }
        }
        beliefs
    }
}

impl Learned {
    fn event(self, beliefs: &Beliefs, region: RegionId) -> Option<Event> {
        let outcome = match self {
            Self::NoAddress => return None,
            Self::Admin(state) => {
                let region = Arc::clone(&beliefs.table.region(region).name);
                return Some(Event::Operator { region, state });
            }
            Self::Ejected => {
                return Some(Event::TrafficFailed {
                    endpoint: beliefs.regions[region.index()].endpoints[0].id,
                    kind: ErrorKind::GatewayStatus,
                    in_a_row: 5,
                });
            }
            Self::Down => ProbeOutcome::Failed(ProbeFailure::Refused),
            Self::Latency(latency) => ProbeOutcome::Passed {
                phases: Phases {
                    first_byte: Some(latency),
                    ..Phases::default()
                },
                warm: true,
            },
        };
        let endpoint = beliefs.regions[region.index()].endpoints.first()?.id;
        Some(Event::Probed { endpoint, outcome })
    }
}

/// A viewer with a country from a header, or with none.
pub(crate) fn viewer(country: Option<&str>) -> Viewer {
    let country = country.map(|code| Country::parse(code.as_bytes()).expect("a country"));
    Viewer {
        address: [203, 0, 113, 7].into(),
        country,
        source: match country {
            Some(_) => ViewerSource::Header,
            None => ViewerSource::Unknown,
        },
        place: None,
    }
}

/// A request for `path` at `api.example.com`.
pub(crate) fn facts<'a>(path: &'a str, viewer: &'a Viewer) -> RequestFacts<'a> {
    RequestFacts::get(Some("api.example.com"), path, viewer)
}
