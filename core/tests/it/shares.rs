//! Weights and ramps: who gets which part, with many addresses and with one.

use std::net::IpAddr;
use std::time::Duration;

use meridian_core::decide::decide;
use meridian_core::decide::heavy_hitters::HeavyHitters;
use meridian_core::decide::request::RequestFacts;
use meridian_core::health::failback::{Condition, Failback};
use meridian_core::model::country::Country;
use meridian_core::model::id::RegionId;
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::Viewer;
use meridian_core::table::failback::FailbackConfig;
use meridian_core::table::policy::Policy;

use crate::support::world::{THIRTY, World, facts, viewer};

/// Where each of 20,000 viewers goes.
fn choices(world: &World) -> Vec<RegionId> {
    let snapshot = world.snapshot();
    let country = Country::parse(b"US");
    let address = |n: u32| IpAddr::from((0x0b00_0000 + n * 7).to_be_bytes());
    let viewers = (0..20_000).map(|n| Viewer {
        address: address(n),
        country,
        ..viewer(None)
    });
    viewers
        .map(|viewer| {
            let decision = decide(&snapshot, &facts("/", &viewer)).expect("a region serves");
            decision.ranked().all()[0]
        })
        .collect()
}

fn weighted_world() -> World {
    let mut world = World::new(&THIRTY[..4]);
    let weights = (0..4).map(|r| (RegionId(r), u32::from(r) + 1)).collect();
    world.route("api", "/", &THIRTY[..4], Policy::Weighted(weights));
    world
}

#[test]
fn shares_follow_the_weights() {
    let choices = choices(&weighted_world());
    for region in 0..4_u8 {
        let count = choices.iter().filter(|r| r.0 == region).count();
        let share = count as f64 / choices.len() as f64;
        let meant = f64::from(region + 1) / 10.0;
        assert!(
            (share - meant).abs() < 0.015,
            "{region}: {share} for {meant}"
        );
    }
}

#[test]
fn shares_follow_the_weights_where_all_viewers_have_one_address() {
    let snapshot = weighted_world().snapshot();
    let shared = viewer(None);
    let mut hitters = HeavyHitters::default();
    let mut random = fastrand::Rng::with_seed(7);
    let mut counts = [0_u32; 4];
    for _ in 0..20_000 {
        let facts = RequestFacts {
            draw: hitters.draw(shared.address, || random.u64(..)),
            ..facts("/", &shared)
        };
        let decision = decide(&snapshot, &facts).expect("a region serves");
        counts[decision.ranked().all()[0].index()] += 1;
    }
    for (count, meant) in counts.into_iter().zip([0.1, 0.2, 0.3, 0.4]) {
        let share = f64::from(count) / 20_000.0;
        assert!((share - meant).abs() < 0.015, "{share} for {meant}");
    }
}

/// A return that has come to 25 % of the viewers.
fn at_a_quarter() -> Failback {
    let is = |well| Condition {
        well,
        proven: true,
        shared: false,
        worse: false,
        capacity: 100,
        forced: false,
    };
    let config = FailbackConfig::default();
    let mut failback = Failback::default();
    failback.advance(is(true), &config, Timestamp::ZERO);
    for second in 1..3600 {
        let now = Timestamp::ZERO + Duration::from_secs(second);
        failback.advance(is(second > 1), &config, now);
        if failback.stage().share() == 25 {
            return failback;
        }
    }
    panic!("no ramp: {failback:?}");
}

#[test]
fn a_quarter_of_the_requests_returns_where_all_viewers_have_one_address() {
    let mut world = World::new(&THIRTY[..2]);
    world.route("api", "/", &THIRTY[..2], Policy::Failover);
    let mut snapshot = world.snapshot();
    let back = snapshot.table.routes[0].order[0];
    snapshot.regions[back.index()].failback = vec![at_a_quarter()];
    snapshot.limited = vec![[back].into_iter().collect()];
    let shared = viewer(None);
    let mut hitters = HeavyHitters::default();
    let mut random = fastrand::Rng::with_seed(7);
    let mut returns = |viewer: &Viewer, hitters: &mut HeavyHitters| {
        let facts = RequestFacts {
            draw: hitters.draw(viewer.address, || random.u64(..)),
            ..facts("/", viewer)
        };
        let decision = decide(&snapshot, &facts).expect("a region serves");
        decision.ranked().all()[0] == back
    };
    let all = (0..20_000).filter(|_| returns(&shared, &mut hitters));
    let share = all.count() as f64 / 20_000.0;
    assert!((share - 0.25).abs() < 0.015, "{share}");
    // Where there are many, each stays where it is.
    let mut hitters = HeavyHitters::default();
    let many = (0..200_u32).map(|n| Viewer {
        address: IpAddr::V4((0x0b00_0000 + n).into()),
        ..shared
    });
    let many: Vec<_> = many.collect();
    let mut once = || -> Vec<bool> {
        let asked = many.iter();
        asked.map(|one| returns(one, &mut hitters)).collect()
    };
    let first = once();
    assert_eq!(first, once());
    let share = first.iter().filter(|back| **back).count();
    assert!((35..=65).contains(&share), "{share} of 200");
}

#[test]
fn only_the_viewers_of_a_region_that_goes_move() {
    let before = choices(&weighted_world());
    let mut world = weighted_world();
    world.down(THIRTY[2]);
    let after = choices(&world);
    for (before, after) in before.iter().zip(&after) {
        assert!(before.0 == 2 || before == after);
        assert_ne!(after.0, 2);
    }
    // Those that had to move are spread by weight too: 1, 2 and 4 in 7.
    let moved = before.iter().filter(|r| r.0 == 2).count() as f64;
    let to_last = before
        .iter()
        .zip(&after)
        .filter(|(b, a)| b.0 == 2 && a.0 == 3);
    assert!((to_last.count() as f64 / moved - 4.0 / 7.0).abs() < 0.03);
}
