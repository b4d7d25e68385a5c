//! A region that is to have a part of the traffic.

use std::time::Duration;

use crate::day::calm::{BEGIN, NEAR, STAYS, at, between, closer, day, later, millis, spell};
use crate::day::{Callers, Day, HomeShare, Promise};
use crate::fault::{Behaviour, Whom};
use crate::setup::{Setup, Tuning};
use crate::topology::Topology;

/// Every row.
pub(crate) fn days() -> Vec<Day> {
    [one_address(), bursts(), vec![overload(), farther()]].concat()
}

/// All viewers have one address.
fn one_address() -> Vec<Day> {
    let local = |rate| Callers {
        addresses: 0..0,
        ..Callers::get("/page/*", rate)
    };
    vec![
        Day {
            topology: Topology::of(Setup::Plain, Tuning::Ramp(12)),
            callers: vec![local(200)],
            steps: spell(BEGIN, millis(3000), NEAR, Behaviour::Down).into(),
            promise: Promise {
                home: vec![between(26, 28, HomeShare::AtLeast(STAYS))],
                rise: Some(0.65),
                ..Promise::default()
            },
            ..day(
                "one-address",
                "near returns on a ramp of 12 s, all viewers have one address",
                28,
            )
        },
        Day {
            topology: Topology::of(Setup::Halves, Tuning::Defaults),
            callers: vec![local(200)],
            promise: Promise {
                home: vec![
                    between(1, 6, HomeShare::AtLeast(0.35)),
                    between(1, 6, HomeShare::AtMost(0.65)),
                ],
                ..Promise::default()
            },
            ..day(
                "halves",
                "near and next have equal weights, all viewers have one address",
                6,
            )
        },
    ]
}

/// A quiet proxy, and then many at once while the region fails.
fn bursts() -> Vec<Day> {
    let burst = |name, title, behaviour| Day {
        callers: vec![Callers {
            at_once: 50,
            span: millis(11_000)..millis(11_100),
            ..Callers::get("/page/*", 50)
        }],
        steps: vec![at(millis(10_900), NEAR, behaviour)],
        promise: Promise {
            wait: Some((Duration::ZERO, millis(340))),
            ..Promise::default()
        },
        ..day(name, title, 12)
    };
    vec![
        burst(
            "quiet-503",
            "11 s without a request, then 50 GETs at once and near answers 503",
            Behaviour::Unavailable { health_too: false },
        ),
        burst("quiet-reset", "the same, and near resets", Behaviour::Reset),
    ]
}

/// More than the region can do.
fn overload() -> Day {
    Day {
        callers: vec![Callers::get("/page/*", 200)],
        steps: spell(
            BEGIN,
            millis(19_000),
            Whom::Regions(2),
            Behaviour::Limited(160),
        )
        .into(),
        promise: Promise {
            p99: Some((millis(8000), millis(500))),
            home: vec![
                between(8, 22, HomeShare::AtLeast(0.5)),
                between(8, 22, HomeShare::AtMost(0.9)),
            ],
            ..Promise::default()
        },
        ..day(
            "overload-day",
            "near and next serve 160/s each, 200/s come",
            22,
        )
    }
}

/// The region is farther than the next one from some time on.
fn farther() -> Day {
    Day {
        topology: closer(),
        steps: vec![at(millis(5000), NEAR, later(52, 52))],
        promise: Promise {
            home: vec![
                between(0, 5, HomeShare::AtLeast(STAYS)),
                between(15, 20, HomeShare::AtMost(0.1)),
            ],
            ..Promise::default()
        },
        ..day(
            "farther",
            "near takes 60 ms from 5 s on, in place of 8; next takes 26",
            20,
        )
    }
}
