//! A few viewers ask for something of their own.

use std::time::Duration;

use crate::day::calm::{day, millis};
use crate::day::{Callers, Day};
use crate::setup::{Setup, Tuning};
use crate::topology::Topology;

/// Every row.
pub(crate) fn days() -> Vec<Day> {
    [slow_ones(), refused_ones(), downloads()].concat()
}

/// The one at address 50.
fn one(caller: Callers) -> Callers {
    Callers {
        addresses: 50..51,
        ..caller
    }
}

/// Those who ask for what takes so many milliseconds.
fn slow(path: &'static str, rate: u32, takes: u64) -> Callers {
    Callers {
        takes: millis(takes),
        ..Callers::get(path, rate)
    }
}

/// Something slow for some, light things for others.
fn slow_ones() -> Vec<Day> {
    let in_japan = Callers {
        country: Some("JP"),
        home: 1,
        ..Callers::get("/text/*", 60)
    };
    vec![
        Day {
            topology: Topology::of(Setup::Plain, Tuning::Workers(8)),
            callers: vec![
                Callers {
                    addresses: 1..2,
                    ..Callers::get("/page/*", 20)
                },
                Callers {
                    span: Duration::ZERO..millis(5000),
                    ..one(Callers::get("/page/*", 20))
                },
                Callers {
                    span: millis(5000)..millis(14_000),
                    ..one(slow("/report/7?later=400", 2, 400))
                },
            ],
            ..day(
                "slow-url",
                "of two viewers one asks for what takes 400 ms everywhere, 8 workers",
                18,
            )
        },
        Day {
            callers: vec![
                Callers::get("/page/*", 100),
                Callers {
                    at_once: 20,
                    span: millis(4000)..millis(15_000),
                    ..one(slow("/report/*?around=400", 20, 600))
                },
            ],
            ..day(
                "slow-page",
                "one viewer's page asks for 20 such at once each second, others 100/s",
                18,
            )
        },
        Day {
            topology: Topology::of(Setup::Countries, Tuning::Workers(1)),
            callers: vec![
                Callers::get("/page/*", 30),
                slow("/export?later=3000", 1, 3000),
                in_japan.clone(),
            ],
            ..day(
                "long-one",
                "near: one request of 3 s each second, 30 light ones; next: light ones; 1 worker",
                42,
            )
        },
        Day {
            topology: Topology::of(Setup::Countries, Tuning::Defaults),
            callers: vec![
                Callers {
                    country: Some("US"),
                    ..slow("/film/*?later=200", 60, 200)
                },
                in_japan,
            ],
            ..day(
                "heavy",
                "US viewers (near) ask heavy paths, JP viewers (next) light ones",
                42,
            )
        },
    ]
}

/// Answers that are no success.
fn refused_ones() -> Vec<Day> {
    let usual = |rate| Callers::get("/page/*", rate);
    vec![
        Day {
            callers: vec![
                usual(120),
                Callers {
                    stays: false,
                    ..one(Callers::get("/object?near=503", 40))
                },
            ],
            ..day(
                "one-object",
                "every fourth request is one object that near answers with 503",
                15,
            )
        },
        Day {
            callers: vec![
                Callers {
                    addresses: 1..2,
                    ..usual(60)
                },
                Callers {
                    expected: 429,
                    ..one(Callers::get("/page/1?status=429", 80))
                },
            ],
            ..day(
                "quota",
                "of two callers one is over its quota and gets 429 everywhere",
                15,
            )
        },
        Day {
            callers: vec![
                usual(100),
                Callers {
                    expected: 404,
                    ..one(Callers::get("/old/*?status=404", 60))
                },
            ],
            ..day("crawl", "a crawler gets 404 for everything", 15)
        },
    ]
}

/// Large bodies that pause everywhere.
fn downloads() -> Vec<Day> {
    let beside = |path, pause: u64| vec![Callers::get("/page/*", 50), slow(path, 1, pause * 3)];
    vec![
        Day {
            callers: beside("/large?pause=1300", 1300),
            ..day(
                "throttled",
                "downloads throttled everywhere, pauses of 1.3 s",
                20,
            )
        },
        Day {
            callers: beside("/large?pause=1025", 1025),
            ..day(
                "limit-rate",
                "the same, pauses of 1.02 s, as limit_rate makes them",
                20,
            )
        },
    ]
}
