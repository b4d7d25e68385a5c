//! A region that becomes slower than another is left; what is slow for all, or for a moment, moves
//! nobody.

use super::*;

/// The near region takes 8 ms and the far one 26.
fn near_and_far(seed: u64) -> World {
    let mut world = World::new(seed, &["far", "near"], &[(26.0, 1.0), (8.0, 1.0)]);
    for _ in 0..60 {
        second(&mut world, 8);
    }
    assert_eq!(world.leader(), "near");
    world
}

/// A second with requests in the near region, whose first bytes take so long.
fn second(world: &mut World, millis: u64) {
    world.tell(Event::TrafficWindow {
        generation: world.beliefs.generation,
        counts: vec![WindowCount {
            route: RouteId(0),
            region: RegionId(1),
            count: TrafficCount {
                requests: 100,
                ..spread()
            },
            first_byte: Some(Duration::from_millis(millis)),
        }],
    });
    world.pass(seconds(1));
}

/// How many seconds until the far region leads, of so many.
fn left_after(world: &mut World, length: u64, millis: impl Fn(u64) -> u64) -> Option<u64> {
    (1..=length).find(|passed| {
        second(world, millis(*passed));
        world.leader() == "far"
    })
}

#[test]
fn a_leader_that_becomes_farther_than_the_next_is_left_within_ten_seconds() {
    for_each_seed(100, |seed| {
        let mut world = near_and_far(seed);
        world.latency[1] = (60.0, 2.0);
        let left = left_after(&mut world, 60, |_| 60);
        assert!(left.is_some_and(|seconds| seconds <= 10), "{left:?}");
    });
}

#[test]
fn a_health_check_slower_than_the_service_moves_nobody() {
    for_each_seed(100, |seed| {
        let mut world = near_and_far(seed);
        world.latency[1] = (800.0, 50.0);
        assert_eq!(left_after(&mut world, 30, |_| 8), None);
    });
}

#[test]
fn what_makes_all_regions_slower_alike_moves_nobody() {
    for extra in [100, 150, 400, 2000] {
        for_each_seed(25, |seed| {
            let mut world = near_and_far(seed);
            let more = extra as f64;
            world.latency = vec![(26.0 + more, more / 2.0), (8.0 + more, more / 2.0)];
            let jitter = |passed: u64| extra / 2 + (passed * 7919) % extra;
            assert_eq!(left_after(&mut world, 20, jitter), None, "{extra} ms");
        });
    }
}

#[test]
fn a_spell_of_a_few_seconds_moves_nobody() {
    for_each_seed(100, |seed| {
        let mut world = near_and_far(seed);
        world.latency[1] = (60.0, 2.0);
        assert_eq!(left_after(&mut world, 4, |_| 60), None);
        world.latency[1] = (8.0, 1.0);
        assert_eq!(left_after(&mut world, 60, |_| 8), None);
    });
}

#[test]
fn heavy_requests_alone_move_nobody() {
    for_each_seed(100, |seed| {
        let mut world = near_and_far(seed);
        assert_eq!(left_after(&mut world, 60, |_| 900), None);
    });
}
