//! What operators do, and traffic that is heavy or rude.

use std::time::Duration;

use crate::day::calm::{BEGIN, NEAR, at, calm, day, later, millis, spell};
use crate::day::{Callers, Day, Promise};
use crate::fault::{Behaviour, Say, Whom};
use crate::setup::{Setup, Tuning};
use crate::topology::Topology;

/// Every row.
pub(crate) fn days() -> Vec<Day> {
    let mut days = operations();
    days.extend(traffic());
    days
}

/// What operators do.
fn operations() -> Vec<Day> {
    let three = Topology::of(Setup::Endpoints, Tuning::Defaults);
    let refusing = |length| Promise {
        may_refuse: true,
        ..calm(length, 0)
    };
    let deploy = (0..3_u8).flat_map(|number| {
        let one = Whom::Endpoint(number.into());
        spell(
            BEGIN + BEGIN * number.into(),
            millis(1000),
            one,
            Behaviour::Down,
        )
    });
    let restarts = (1..5).flat_map(|turn| {
        let begin = millis(5000) * turn;
        spell(begin, millis(1000), Whom::Endpoint(0), Behaviour::Down)
    });
    let cold = (3..6).map(|number| at(Duration::ZERO, Whom::Endpoint(number), Behaviour::Cold));
    let named = Behaviour::Names(Say::First(6));
    let warm = (3..6).map(|number| at(millis(9000), Whom::Endpoint(number), Behaviour::Serving));
    vec![
        Day {
            topology: three,
            steps: deploy.collect(),
            promise: refusing(15),
            ..day(
                "deploy",
                "a rolling deploy: each of near's three endpoints resets, is gone for 1 s",
                15,
            )
        },
        Day {
            topology: three,
            steps: restarts.collect(),
            promise: refusing(25),
            ..day(
                "restarts",
                "one endpoint of three restarts every 5 s (for each minute)",
                25,
            )
        },
        Day {
            topology: Topology::of(Setup::Names, Tuning::Defaults),
            steps: cold.chain([at(BEGIN, NEAR, named)]).chain(warm).collect(),
            promise: calm(18, 45),
            ..day(
                "scale",
                "near grows from 3 to 6 endpoints, the new ones ten times slower for 6 s",
                18,
            )
        },
    ]
}

/// Traffic that is heavy, or rude.
fn traffic() -> Vec<Day> {
    vec![
        Day {
            callers: vec![
                Callers::get("/page/*", 100),
                Callers {
                    takes: millis(2000),
                    addresses: 50..51,
                    span: BEGIN..millis(14_000),
                    ..Callers::post("/batch?later=2000", 20)
                },
            ],
            ..day(
                "batch",
                "a nightly batch: 20 POSTs of 2 s each second from one address",
                18,
            )
        },
        Day {
            callers: vec![
                Callers {
                    aborts_every: Some(20),
                    ..Callers::get("/page/*", 160)
                },
                Callers {
                    aborts_every: Some(20),
                    ..Callers::post("/form/*", 40)
                },
            ],
            ..day("abort", "5 % of viewers leave before the answer", 15)
        },
        Day {
            callers: vec![
                Callers::get("/page/*", 120),
                Callers {
                    span: millis(6000)..millis(14_000),
                    ..Callers::get("/page/*", 120)
                },
            ],
            steps: spell(millis(6000), millis(8000), NEAR, later(10, 0)).into(),
            promise: calm(18, 10),
            ..day(
                "daylight",
                "the load doubles for 8 s, and near takes 15 ms in place of 5",
                18,
            )
        },
    ]
}
