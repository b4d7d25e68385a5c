//! One ill endpoint of a region leaves alone, and a region takes no more than its endpoints carry.

use meridian_core::health::failback::Stage;
use meridian_core::table::failback::FailbackId;

use super::*;

const LATENCY: [(f64, f64); 3] = [(5.0, 1.0), (9.0, 1.0), (40.0, 4.0)];

/// The east has three endpoints, the others one each, and all are well.
fn three_in_the_east(seed: u64) -> World {
    let mut world = World::with(seed, routed(), &LATENCY);
    world.resolve(0, &[1, 2, 3]);
    world.pass(seconds(30));
    world
}

fn east(world: &World) -> Vec<(EndpointId, Health)> {
    let endpoints = world.beliefs.regions[0].endpoints.iter();
    endpoints.map(|one| (one.id, one.health)).collect()
}

fn well(world: &World) -> usize {
    let is_well = |(_, health): &(_, Health)| *health != Health::Unhealthy;
    east(world).iter().filter(|one| is_well(one)).count()
}

/// 28 requests in the east at its endpoints in turn, 10 of which fail, at `ill` in turn.
fn ten_of_28_fail(world: &mut World, ill: &[usize]) {
    let known = east(world);
    let mut count = TrafficCount {
        requests: 28,
        failures: 10,
        ..spread()
    };
    for (endpoint, _) in &known {
        count.endpoints.asked(*endpoint);
    }
    for number in 0..10 {
        count.endpoints.failed(known[ill[number % ill.len()]].0);
    }
    let other = TrafficCount {
        requests: 40,
        ..spread()
    };
    let window = |region, count| WindowCount {
        route: RouteId(0),
        region: RegionId(region),
        count,
        first_byte: None,
    };
    world.tell(Event::TrafficWindow {
        generation: world.beliefs.generation,
        counts: vec![window(0, count), window(2, other)],
    });
}

#[test]
fn one_ill_endpoint_of_three_leaves_and_its_region_stays() {
    let mut world = three_in_the_east(3);
    let of = |world: &World| east(world).iter().map(|one| one.1).collect::<Vec<_>>();
    let alone = [Health::Healthy, Health::Unhealthy, Health::Healthy];
    ten_of_28_fail(&mut world, &[1]);
    assert_eq!(of(&world), alone);
    assert!(world.serves(0));
    ten_of_28_fail(&mut world, &[1]);
    assert_eq!(of(&world), alone, "its last answers prove nothing new");
    assert!(world.serves(0));
}

#[test]
fn what_all_endpoints_fail_takes_the_region_out() {
    let mut world = three_in_the_east(3);
    ten_of_28_fail(&mut world, &[0, 1, 2]);
    assert!(!world.serves(0) && well(&world) == 0);
}

#[test]
fn a_region_whose_only_endpoint_left_fails_is_out() {
    let mut world = three_in_the_east(3);
    for ill in [0, 1] {
        ten_of_28_fail(&mut world, &[ill]);
    }
    assert!(world.serves(0) && well(&world) == 1);
    ten_of_28_fail(&mut world, &[2]);
    assert!(!world.serves(0), "none is left");
}

#[test]
fn a_return_takes_no_larger_share_than_the_endpoints_that_are_well_carry() {
    let mut world = three_in_the_east(3);
    world.down.insert(0);
    world.pass(seconds(60));
    world.down.clear();
    let stage = |world: &World| world.beliefs.regions[0].failback[0].stage();
    let half = Stage::Ramping { share: 50 };
    while stage(&world) != half {
        world.pass(seconds(1));
    }
    for (endpoint, _) in &east(&world)[1..] {
        world.tell(Event::TrafficFailed {
            endpoint: *endpoint,
            kind: ErrorKind::FreshReset,
            in_a_row: 5,
        });
    }
    assert_eq!(stage(&world), Stage::Ramping { share: 33 });
    assert_eq!(world.snapshot.regions[0].share(FailbackId::at(0)), 33);
}
