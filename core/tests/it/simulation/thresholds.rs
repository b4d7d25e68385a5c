//! What live requests prove is weighed by the thresholds of the table that is in force.

use meridian_core::table::traffic_policy::{OutlierDetection, TrafficPolicy};

use super::*;

const COMPARED: bool = true;

const LATENCY: [(f64, f64); 3] = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];

/// All regions serve, and live requests are judged by `traffic`.
fn judged_by(traffic: TrafficPolicy) -> World {
    let order = [RegionId(0), RegionId(2)];
    let route = route_over(&order);
    let regions = ["east", "island", "west"].map(region).to_vec();
    let table = RoutingTable::new(Vec::new(), regions, vec![route])
        .with_failback(SHORT, &BTreeMap::new())
        .with_traffic_policy(traffic);
    let mut world = World::with(7, Arc::new(table), &LATENCY);
    world.pass(seconds(30));
    world
}

fn detecting(outlier_detection: OutlierDetection) -> World {
    judged_by(TrafficPolicy {
        outlier_detection,
        ..TrafficPolicy::default()
    })
}

fn east(world: &World) -> EndpointId {
    world.beliefs.regions[0].endpoints[0].id
}

/// Tells that `in_a_row` answers of the east were late, and says whether that took it out.
fn late_takes_it_out(world: &mut World, in_a_row: u32, compared: bool) -> bool {
    let endpoint = east(world);
    world.tell(Event::Suspected { endpoint });
    // The other region passes a probe: the fault is not on our side.
    world.pass(seconds(5));
    world.tell(Event::TrafficLate {
        endpoint,
        lates: LateAnswers {
            in_a_row,
            compared,
            lasted: seconds(1),
            answered: false,
        },
    });
    !world.serves(0)
}

#[test]
fn late_answers_are_counted_against_the_threshold_of_their_kind() {
    let late = |consecutive_late, consecutive_late_uncompared| {
        detecting(OutlierDetection {
            consecutive_late,
            consecutive_late_uncompared,
            ..OutlierDetection::default()
        })
    };
    let compared = |world: &mut World, in_a_row| late_takes_it_out(world, in_a_row, COMPARED);
    assert!(!compared(&mut late(7, 3), 6) && compared(&mut late(7, 3), 7));
    let uncompared = |world: &mut World, in_a_row| late_takes_it_out(world, in_a_row, !COMPARED);
    assert!(!uncompared(&mut late(7, 3), 2) && uncompared(&mut late(7, 3), 3));
    assert!(!uncompared(&mut late(2, 9), 8) && uncompared(&mut late(2, 9), 9));
}

#[test]
fn a_region_falls_at_the_share_and_number_that_were_written() {
    let falls = |policy, requests, failures| {
        let mut world = detecting(policy);
        let count = |region, failures| WindowCount {
            route: RouteId(0),
            region: RegionId(region),
            count: TrafficCount {
                requests,
                failures,
                ..spread()
            },
            first_byte: None,
        };
        world.tell(Event::TrafficWindow {
            generation: world.beliefs.generation,
            counts: vec![count(0, failures), count(2, 0)],
        });
        !world.serves(0)
    };
    let usual = OutlierDetection::default();
    assert!(falls(usual, 50, 10) && !falls(usual, 50, 9) && !falls(usual, 51, 10));
    let few = OutlierDetection {
        minimum_failures: 3,
        ..usual
    };
    assert!(falls(few, 15, 3) && !falls(few, 15, 2));
    let most = OutlierDetection {
        failure_percent: 60,
        ..usual
    };
    assert!(falls(most, 50, 30) && !falls(most, 50, 29));
}

#[test]
fn what_requests_ejected_returns_after_the_answers_that_were_written() {
    let mut world = judged_by(TrafficPolicy {
        probation: ProbationPolicy {
            answers: 3,
            ..ProbationPolicy::default()
        },
        ..TrafficPolicy::default()
    });
    let endpoint = east(&world);
    world.tell(Event::TrafficFailed {
        endpoint,
        kind: ErrorKind::GatewayStatus,
        in_a_row: 5,
    });
    world.pass(seconds(10));
    for _ in 0..3 {
        assert!(!world.serves(0));
        world.tell(Event::ProbationAnswered {
            endpoint,
            good: true,
        });
    }
    assert!(world.serves(0));
}

#[test]
fn what_answers_late_is_given_longer_than_what_is_silent() {
    let falls = |answered, millis| {
        let mut world = judged_by(TrafficPolicy::default());
        let endpoint = east(&world);
        world.tell(Event::Suspected { endpoint });
        world.pass(seconds(1));
        world.tell(Event::TrafficLate {
            endpoint,
            lates: LateAnswers {
                in_a_row: 50,
                compared: COMPARED,
                lasted: Duration::from_millis(millis),
                answered,
            },
        });
        !world.serves(0)
    };
    assert!(falls(false, 700) && !falls(false, 699));
    assert!(falls(true, 3500) && !falls(true, 3499));
}
