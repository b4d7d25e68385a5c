//! A restart: what of the beliefs of an earlier process still holds.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::addresses;
use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::{RegionLatency, RegionState};
use crate::apply::saved::{SavedBeliefs, SavedEndpoint, SavedRegion};
use crate::change::ChangeCause;
use crate::decide::snapshot::EndpointState;
use crate::health::availability::Availability;
use crate::health::order::LatencyOrder;
use crate::model::id::RegionId;
use crate::model::time::Timestamp;
use crate::table::RoutingTable;
use crate::table::origin::{OriginHost, Region};

/// Beliefs older than this are dropped. The longest outages of whole cloud regions took most of a
/// day; what was seen before says nothing any more. The operator's words have no such bound.
pub const BELIEFS_LAST: Duration = Duration::from_secs(24 * 3600);

/// Takes in what was saved `away` ago; names that were resolved then are used again if that
/// is no longer ago than `keep_names`. Regions are matched by name, endpoints by their origin's
/// URL and address; what the table no longer has is ignored.
pub(super) fn restore(
    beliefs: &mut Beliefs,
    saved_beliefs: &SavedBeliefs,
    away: Duration,
    keep_names: Duration,
    now: Timestamp,
) -> Option<ChangeCause> {
    let mut restored = 0_usize;
    for saved in &saved_beliefs.regions {
        let Some(id) = beliefs.table.region_named(&saved.name) else {
            continue;
        };
        if away <= keep_names {
            use_names_again(beliefs, id, saved);
        }
        let table = Arc::clone(&beliefs.table);
        let Some(state) = beliefs.regions.get_mut(id.index()) else {
            continue;
        };
        state.admin = saved.admin;
        if away <= BELIEFS_LAST && restore_endpoints(state, table.region(id), saved, away, now) {
            restore_region(state, &table, saved, away, now);
        }
        restored += 1;
    }
    if away <= BELIEFS_LAST {
        beliefs.correlated_failure = saved_beliefs.correlated_failure;
        let moment = |before| now - Duration::from_millis(before).saturating_add(away);
        beliefs.fell_together = saved_beliefs.fell_together_ms.map(moment);
        beliefs.last_ejection = saved_beliefs.last_ejection_ms.map(moment);
        let order = saved_beliefs.order.iter();
        let order = order.filter_map(|name| beliefs.table.region_named(name));
        beliefs.order = LatencyOrder::restored(order);
    }
    (restored > 0).then_some(ChangeCause::Restored)
}

/// The addresses that names had: a start does not have to wait for a name server.
fn use_names_again(beliefs: &mut Beliefs, id: RegionId, saved: &SavedRegion) {
    let table = Arc::clone(&beliefs.table);
    for (place, origin) in (0..).zip(&table.region(id).origins) {
        if matches!(origin.host, OriginHost::Name(_)) {
            let url = origin.url();
            let of_origin =
                |one: &&SavedEndpoint| one.origin == url && one.address.port() == origin.port;
            let endpoints = saved.endpoints.iter().filter(of_origin);
            let addresses: Vec<_> = endpoints.map(|one| one.address).collect();
            addresses::resolve(beliefs, id, place, &addresses);
        }
    }
}

/// Gives endpoints what was believed of them; says whether there was any to give it to.
fn restore_endpoints(
    state: &mut RegionState,
    region: &Region,
    saved: &SavedRegion,
    away: Duration,
    now: Timestamp,
) -> bool {
    let urls: Vec<_> = region.origins.iter().map(|origin| origin.url()).collect();
    let known = |endpoint: &EndpointState| {
        let url = urls.get(usize::from(endpoint.origin))?;
        let mut all = saved.endpoints.iter();
        all.find(|one| one.address == endpoint.address && one.origin == *url)
    };
    let mut endpoints = state.endpoints.to_vec();
    let mut any = false;
    for endpoint in &mut endpoints {
        if let Some(one) = known(endpoint) {
            endpoint.standing = one.health.restore(away);
            endpoint.health = endpoint.standing.health();
            endpoint.latency = one.latency.restore(away, now);
            any = true;
        }
    }
    state.endpoints = endpoints.into();
    any
}

/// What was believed of a region as a whole. One without an address it had before starts anew: its
/// hold-down would keep back a service that never failed.
fn restore_region(
    state: &mut RegionState,
    table: &RoutingTable,
    saved: &SavedRegion,
    away: Duration,
    now: Timestamp,
) {
    let moment = |before| now - Duration::from_millis(before).saturating_add(away);
    let since = saved.down_since_ms.map(moment);
    state.availability = match (saved.out, since) {
        (true, since) => Availability::Out {
            since: since.unwrap_or(now),
        },
        (false, Some(since)) => Availability::Suppressed { since, told: false },
        (false, None) => Availability::Up,
    };
    state.latency = saved.latency.map(|figure| RegionLatency {
        median: Duration::from_micros(figure.median_us),
        measured: moment(figure.age_ms),
    });
    let goes_on = |config| {
        let alike = saved.failback.iter().find(|way| way.followed(config));
        let way = alike.or_else(|| saved.failback.first());
        way.map(|way| way.restore(config, away, now))
            .unwrap_or_default()
    };
    state.failback = table.failbacks().iter().map(goes_on).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apply::{Change, Event, apply};
    use crate::decide::snapshot::AdminState;
    use crate::health::failback::Stage;
    use crate::health::rise_fall::Health;
    use crate::model::outcome::{ErrorKind, Phases, ProbeFailure, ProbeOutcome};
    use crate::model::viewer::UnknownViewer;
    use crate::table::Written;
    use crate::table::origin::{Origin, ProbeSpec, UpstreamSpec};

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn region(name: &str, host: OriginHost) -> Region {
        Region {
            name: name.into(),
            origins: vec![Origin {
                tls: false,
                host,
                port: 80,
            }],
            upstream: UpstreamSpec::default(),
            place: None,
            probe: ProbeSpec::default(),
            written: Written::default(),
        }
    }

    /// Regions with one address each: `10.0.0.N` for the Nth letter.
    fn started(names: &[&str]) -> Beliefs {
        let regions = names.iter().map(|name| {
            let letter = name.as_bytes()[0] - b'a' + 1;
            region(name, OriginHost::Address([10, 0, 0, letter].into()))
        });
        started_with(regions.collect())
    }

    fn started_with(regions: Vec<Region>) -> Beliefs {
        let table = Event::Table {
            table: Arc::new(RoutingTable::new(Vec::new(), regions, Vec::new())),
            unknown: UnknownViewer::default(),
        };
        apply(&Beliefs::default(), table, Timestamp::ZERO).0
    }

    struct World {
        beliefs: Beliefs,
        transitions: Vec<Change>,
    }

    impl World {
        fn tell(&mut self, event: Event, second: u64) {
            let (beliefs, transitions) = apply(&self.beliefs, event, at(second));
            self.beliefs = beliefs;
            self.transitions.extend(transitions);
        }

        fn probe(&mut self, region: &str, millis: Option<u64>, second: u64) {
            let id = self.beliefs.table.region_named(region).unwrap();
            let outcome = millis.map_or(ProbeOutcome::Failed(ProbeFailure::Refused), |millis| {
                let phases = Phases {
                    first_byte: Some(Duration::from_millis(millis)),
                    ..Phases::default()
                };
                ProbeOutcome::Passed { phases, warm: true }
            });
            for endpoint in self.beliefs.regions[id.index()].endpoints.clone().iter() {
                let outcome = outcome.clone();
                let endpoint = endpoint.id;
                self.tell(Event::Probed { endpoint, outcome }, second);
            }
        }
    }

    fn running(beliefs: Beliefs) -> World {
        World {
            beliefs,
            transitions: Vec::new(),
        }
    }

    /// `a` is the fastest, and down since second 20 by what traffic found; `c` follows `b`.
    fn mid_outage() -> World {
        let mut world = running(started(&["a", "b", "c"]));
        for second in 0..5 {
            world.probe("a", Some(5), second);
            world.probe("b", Some(80), second);
            world.probe("c", Some(40), second);
        }
        let endpoint = world.beliefs.regions[0].endpoints[0].id;
        world.tell(
            Event::TrafficFailed {
                endpoint,
                kind: ErrorKind::FirstByteTimeout,
                in_a_row: 5,
            },
            20,
        );
        world
    }

    /// As a file would hold it.
    fn written(beliefs: &Beliefs, second: u64) -> Arc<SavedBeliefs> {
        let saved = SavedBeliefs::of(beliefs, at(second), Duration::from_secs(1_000_000));
        let text = serde_json::to_string(&saved).unwrap();
        let read: SavedBeliefs = serde_json::from_str(&text).unwrap();
        assert_eq!(read, saved);
        Arc::new(read)
    }

    fn restored(beliefs: &Beliefs, saved: Arc<SavedBeliefs>, away: Duration) -> World {
        let mut world = running(beliefs.clone());
        let event = Event::Restored {
            saved,
            away,
            keep_names: 24 * HOUR,
        };
        world.tell(event, 0);
        world
    }

    fn order(beliefs: &Beliefs) -> String {
        let names = beliefs.order.regions();
        names.map(|id| &*beliefs.table.region(id).name).collect()
    }

    #[test]
    fn a_region_that_was_down_is_down_at_the_first_request() {
        let saved = written(&mid_outage().beliefs, 25);
        let after = restored(&started(&["a", "b", "c"]), saved, HOUR).beliefs;
        assert_eq!(after.regions[0].health, Health::Unhealthy);
        assert!(after.regions[0].availability.is_out());
        let serving: Vec<_> = after.serving().iter().collect();
        assert_eq!(serving, [RegionId(1), RegionId(2)]);
        assert_eq!(after.regions[0].failback[0].stage(), Stage::Down);
        assert_eq!(order(&after), "cba");
    }

    #[test]
    fn regions_are_known_by_name_and_address_whatever_their_number() {
        let saved = written(&mid_outage().beliefs, 25);
        let after = restored(&started(&["a", "aa", "c"]), saved, HOUR).beliefs;
        let health: Vec<_> = after.regions.iter().map(|region| region.health).collect();
        assert_eq!(
            health,
            [Health::Unhealthy, Health::Unproven, Health::Healthy]
        );
    }

    #[test]
    fn a_region_at_another_address_starts_anew() {
        let saved = written(&mid_outage().beliefs, 25);
        let moved = region("a", OriginHost::Address([10, 9, 9, 9].into()));
        let after = restored(&started_with(vec![moved]), saved, HOUR).beliefs;
        assert_eq!(after.regions[0].health, Health::Unproven);
        assert!(!after.regions[0].availability.is_out());
        assert_eq!(after.regions[0].failback[0].stage(), Stage::Full);
    }

    #[test]
    fn the_hold_goes_on_and_counts_the_time_away() {
        let mut world = running(started(&["a", "b"]));
        world.probe("a", Some(5), 0);
        world.probe("b", Some(80), 0);
        for second in 1..4 {
            world.probe("a", None, second);
            world.probe("b", Some(80), second);
        }
        for second in 100..102 {
            world.probe("a", Some(5), second);
        }
        let failback = |world: &World| world.beliefs.regions[0].failback[0];
        assert_eq!(failback(&world).hold_down_until(), Some(at(161)));
        let saved = written(&world.beliefs, 111);
        let mut after = restored(&started(&["a", "b"]), saved, Duration::from_secs(20));
        assert_eq!(failback(&after).hold_down_until(), Some(at(30)));
        after.tell(Event::Tick, 29);
        assert_eq!(failback(&after).stage().share(), 0);
        after.tell(Event::Tick, 30);
        assert_eq!(failback(&after).stage().share(), 5);
    }

    #[test]
    fn two_that_fell_at_different_times_share_no_fate_after_a_restart() {
        let mut world = running(started(&["a", "b"]));
        for (name, second) in [("a", 0), ("b", 0)] {
            world.probe(name, Some(5), second);
        }
        for (place, second) in [(0, 100), (1, 500)] {
            let endpoint = world.beliefs.regions[place].endpoints[0].id;
            let (kind, in_a_row) = (ErrorKind::FirstByteTimeout, 5);
            let failed = Event::TrafficFailed {
                endpoint,
                kind,
                in_a_row,
            };
            world.tell(failed, second);
        }
        assert!(!world.beliefs.correlated_failure);
        let saved = written(&world.beliefs, 501);
        let after = restored(&started(&["a", "b"]), saved, HOUR).beliefs;
        assert!(!after.correlated_failure);
        let fell: Vec<_> = after
            .regions
            .iter()
            .filter_map(|one| one.availability.down_since())
            .collect();
        assert_eq!(fell[1].since(fell[0]), Duration::from_secs(400));
    }

    #[test]
    fn old_beliefs_are_dropped_and_the_operators_word_is_not() {
        let mut world = mid_outage();
        let drained = Event::Operator {
            region: "b".into(),
            state: AdminState::Drained,
        };
        world.tell(drained, 24);
        let saved = written(&world.beliefs, 25);
        let away = BELIEFS_LAST + Duration::from_secs(1);
        let after = restored(&started(&["a", "b", "c"]), saved, away).beliefs;
        assert_eq!(after.regions[0].health, Health::Unproven);
        assert_eq!(after.regions[1].admin, AdminState::Drained);
        assert!(after.drained().contains(RegionId(1)));
        assert_eq!(order(&after), "abc");
    }

    #[test]
    fn names_keep_their_addresses_while_no_name_server_answers() {
        let named = || vec![region("a", OriginHost::Name("api.example".into()))];
        let mut world = running(started_with(named()));
        let address = ([10, 1, 1, 1], 80).into();
        let resolved = Event::Resolved {
            generation: 1,
            region: RegionId(0),
            origin: 0,
            addresses: vec![address],
        };
        world.tell(resolved, 1);
        world.probe("a", Some(5), 1);
        let saved = written(&world.beliefs, 2);
        let after = restored(&started_with(named()), Arc::clone(&saved), HOUR).beliefs;
        assert_eq!(after.regions[0].endpoints[0].address, address);
        assert_eq!(after.regions[0].health, Health::Healthy);
        let after = restored(&started_with(named()), saved, 25 * HOUR).beliefs;
        assert!(after.regions[0].endpoints.is_empty());
    }

    #[test]
    fn only_what_changes_a_start_makes_another_writing_urgent() {
        let mut world = mid_outage();
        let before = written(&world.beliefs, 25);
        world.probe("b", Some(81), 26);
        assert!(before.means_the_same(&written(&world.beliefs, 27)));
        for second in 28..31 {
            world.probe("b", None, second);
        }
        assert!(!before.means_the_same(&written(&world.beliefs, 31)));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_older() {
        let saved = written(&mid_outage().beliefs, 25);
        assert_eq!(saved.age(Duration::from_secs(7)), Duration::ZERO);
        assert_eq!(saved.age(Duration::from_secs(1_000_007)).as_secs(), 7);
    }
}
