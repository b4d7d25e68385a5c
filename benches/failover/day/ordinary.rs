//! Ordinary days: nobody is to move, and nobody is to lose anything.

use std::time::Duration;

use crate::day::{Callers, Day, Home, HomeShare, Promise, Step, What};
use crate::fault::{Behaviour, Say, Whom};
use crate::setup::{Setup, Tuning};
use crate::topology::{Network, Topology};

const NEAR: Whom = Whom::Regions(1);
const ALL: Whom = Whom::Regions(3);

/// The share that must stay at home: the rest are a few trials of other regions.
const STAYS: f64 = 0.98;
/// When something begins, since there is a load.
const BEGIN: Duration = Duration::from_secs(3);

/// Every row, in the order of the table.
pub(crate) fn days() -> Vec<Day> {
    let mut days = slow_days();
    days.extend(days_of_a_few());
    days.extend(connections());
    days.extend(shares());
    days.extend(operations());
    days.extend(traffic());
    days
}

/// A day of a second, to show that all parts work.
pub(crate) fn look() -> Day {
    Day {
        promise: Promise::default(),
        ..day("quiet", "nothing happens", 1)
    }
}

/// The usual viewers, and a day on which nothing happens.
fn day(name: &str, title: &str, length: u64) -> Day {
    Day {
        name: name.to_owned(),
        title: title.to_owned(),
        topology: Topology::of(Setup::Plain, Tuning::Defaults),
        length: Duration::from_secs(length),
        callers: vec![Callers::get("/page/*", 160), Callers::post("/form/*", 40)],
        steps: Vec::new(),
        promise: calm(length, 0),
    }
}

/// Nobody moves, at no time of a day of so many seconds, and 99 of 100 GETs take at most so many
/// milliseconds longer than by themselves.
fn calm(length: u64, own: u64) -> Promise {
    Promise {
        p99: Some((Duration::ZERO, millis(own))),
        home: vec![
            between(0, length, HomeShare::AtLeast(STAYS)),
            between(length.saturating_sub(2), length, HomeShare::AtLeast(STAYS)),
        ],
        ..Promise::default()
    }
}

fn between(from: u64, until: u64, share: HomeShare) -> Home {
    let span = Duration::from_secs(from)..Duration::from_secs(until);
    Home { span, share }
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn at(at: Duration, whom: Whom, behaviour: Behaviour) -> Step {
    let what = What::Regions(whom, behaviour);
    Step { at, what }
}

/// `whom` behaves so from `begin` for `length`, and then serves.
fn spell(begin: Duration, length: Duration, whom: Whom, behaviour: Behaviour) -> [Step; 2] {
    let end = begin + length;
    [
        at(begin, whom, behaviour),
        at(end, whom, Behaviour::Serving),
    ]
}

/// The same again and again, `every` so often, until `end`.
fn spells(every: Duration, length: Duration, end: Duration, behaviour: Behaviour) -> Vec<Step> {
    let begins = (1..).map(|turn| every * turn);
    let begins = begins.take_while(|begin| *begin + length < end);
    begins
        .flat_map(|begin| spell(begin, length, NEAR, behaviour))
        .collect()
}

fn later(answers: u64, probes: u64) -> Behaviour {
    Behaviour::Later {
        answers: millis(answers),
        probes: millis(probes),
    }
}

/// Something is late, for a moment or for everyone.
fn slow_days() -> Vec<Day> {
    let shared = |name, title, extra| Day {
        steps: spell(BEGIN, millis(10_000), ALL, later(extra, extra)).into(),
        promise: calm(16, extra),
        ..day(name, title, 16)
    };
    vec![
        day("quiet", "nothing happens, for comparison", 10),
        Day {
            steps: spell(millis(4000), millis(250), NEAR, Behaviour::Paused).into(),
            promise: calm(12, 250),
            ..day("pause", "near stands still once, for 250 ms", 12)
        },
        Day {
            steps: spells(BEGIN, millis(200), millis(24_000), Behaviour::Paused),
            promise: calm(25, 200),
            ..day(
                "pauses",
                "near stands still for 200 ms, every 3 s (for once a minute)",
                25,
            )
        },
        shared(
            "shared-150",
            "a shared dependency: all regions and probes 150 ms later",
            150,
        ),
        shared("shared-2s", "the same, 2 s later", 2000),
        Day {
            steps: spell(BEGIN, millis(14_000), NEAR, later(0, 800)).into(),
            ..day(
                "slow-probe",
                "near's health check takes 800 ms, requests are as ever",
                20,
            )
        },
        Day {
            steps: flush(),
            promise: calm(18, 150),
            ..day(
                "flush",
                "a cache flush: all answers 150 ms later, less each second (10 s for 30)",
                18,
            )
        },
        Day {
            topology: Topology {
                network: Network::Lossy,
                ..Topology::of(Setup::Plain, Tuning::Defaults)
            },
            promise: calm(18, 200),
            ..day(
                "loss",
                "1 % of segments from and to near arrive 200 ms later",
                18,
            )
        },
        Day {
            callers: vec![Callers::get("/page/*", 80), Callers::post("/form/*", 20)],
            steps: vec![starve(3, true), starve(15, false)],
            promise: calm(20, 300),
            ..day(
                "starved",
                "the proxy gets 5 % of a core, near answers in 5 ms",
                20,
            )
        },
    ]
}

fn starve(at: u64, is_so: bool) -> Step {
    Step {
        at: Duration::from_secs(at),
        what: What::Starve(is_so),
    }
}

/// Everything is slower at first, and then less and less so.
fn flush() -> Vec<Step> {
    let slower = (0..10).map(|second| {
        let extra = 150 - 15 * second;
        at(BEGIN + millis(1000 * second), ALL, later(extra, 0))
    });
    slower
        .chain([at(BEGIN + millis(10_000), ALL, Behaviour::Serving)])
        .collect()
}

/// A few viewers ask for something of their own.
fn days_of_a_few() -> Vec<Day> {
    let beside = |few: Callers, rate| vec![Callers::get("/page/*", rate), few];
    let one = |few: Callers| Callers {
        addresses: 50..51,
        ..few
    };
    let slow = |path, rate, takes| Callers {
        takes: millis(takes),
        ..Callers::get(path, rate)
    };
    let download = |path, pause: u64| Callers {
        takes: millis(pause * 3),
        ..Callers::get(path, 1)
    };
    vec![
        Day {
            callers: beside(one(slow("/report/7?later=400", 4, 400)), 100),
            ..day(
                "slow-url",
                "one viewer's URL takes 400 ms in all regions",
                15,
            )
        },
        Day {
            callers: beside(slow("/export?later=3000", 1, 3000), 30),
            ..day(
                "long-one",
                "one request of 3 s each second, among 30 light ones",
                20,
            )
        },
        Day {
            topology: Topology::of(Setup::Countries, Tuning::Defaults),
            callers: vec![
                Callers {
                    country: Some("US"),
                    ..slow("/film/*?later=200", 60, 200)
                },
                Callers {
                    country: Some("JP"),
                    home: 1,
                    ..Callers::get("/text/*", 60)
                },
            ],
            ..day(
                "heavy",
                "US viewers (near) ask heavy paths, JP viewers (next) light ones",
                25,
            )
        },
        Day {
            callers: beside(
                Callers {
                    stays: false,
                    ..one(Callers::get("/object?near=503", 40))
                },
                120,
            ),
            ..day(
                "one-object",
                "every fourth request is one object that near answers with 503",
                15,
            )
        },
        Day {
            callers: beside(
                Callers {
                    expected: 429,
                    ..one(Callers::get("/page/1?status=429", 20))
                },
                100,
            ),
            ..day("quota", "one caller over its quota gets 429 everywhere", 15)
        },
        Day {
            callers: beside(
                Callers {
                    expected: 404,
                    ..one(Callers::get("/old/*?status=404", 60))
                },
                100,
            ),
            ..day("crawl", "a crawler gets 404 for everything", 15)
        },
        Day {
            callers: beside(download("/large?pause=1300", 1300), 50),
            ..day(
                "throttled",
                "downloads throttled everywhere, pauses of 1.3 s",
                20,
            )
        },
        Day {
            callers: beside(download("/large?pause=1025", 1025), 50),
            ..day(
                "limit-rate",
                "the same, pauses of 1.02 s, as limit_rate makes them",
                20,
            )
        },
    ]
}

/// Connections end, in order.
fn connections() -> Vec<Day> {
    let http2 = Topology::of(Setup::Http2, Tuning::Defaults);
    let in_flight = |name, title, behaviour| Day {
        topology: http2,
        callers: vec![Callers {
            takes: millis(200),
            ..Callers::get("/page/*?later=200", 200)
        }],
        steps: spells(BEGIN, millis(500), millis(12_000), behaviour),
        promise: calm(14, 210),
        ..day(name, title, 14)
    };
    let reloads = (1..5).map(|turn| Step {
        at: BEGIN * turn,
        what: What::ReloadFronts,
    });
    let mut goaway = vec![at(Duration::ZERO, NEAR, Behaviour::GoAway(200))];
    for turn in 1..4 {
        let begin = millis(4000) * turn;
        goaway.push(at(begin, NEAR, Behaviour::Reloaded));
        goaway.push(at(begin + millis(300), NEAR, Behaviour::GoAway(200)));
    }
    vec![
        Day {
            topology: http2,
            steps: goaway,
            ..day(
                "goaway-day",
                "HTTP/2: GOAWAY every 200 requests (for 1,000) and at three reloads",
                15,
            )
        },
        Day {
            topology: Topology {
                network: Network::Nginx,
                ..http2
            },
            steps: reloads.collect(),
            ..day(
                "nginx-h2",
                "HTTP/2: stock nginx before each region, 20 ms away, four reloads",
                16,
            )
        },
        in_flight(
            "goaway-flight",
            "HTTP/2: GOAWAY with 40 in flight, none looked at, every 3 s",
            Behaviour::GoneAway,
        ),
        in_flight(
            "refused-flight",
            "HTTP/2: REFUSED_STREAM to 40 in flight, every 3 s",
            Behaviour::RefusedOnce,
        ),
    ]
}

/// A region that is to have a part of the traffic.
fn shares() -> Vec<Day> {
    let local = |rate| Callers {
        addresses: 0..0,
        ..Callers::get("/page/*", rate)
    };
    let burst = |name, title, behaviour| Day {
        callers: vec![Callers {
            at_once: 50,
            span: millis(11_000)..millis(11_100),
            ..Callers::get("/page/*", 50)
        }],
        steps: vec![at(millis(10_900), NEAR, behaviour)],
        promise: Promise {
            wait: Some(millis(340)),
            ..Promise::default()
        },
        ..day(name, title, 12)
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
        },
        burst(
            "quiet-503",
            "11 s without a request, then 50 GETs at once and near answers 503",
            Behaviour::Unavailable { health_too: false },
        ),
        burst("quiet-reset", "the same, and near resets", Behaviour::Reset),
        Day {
            topology: Topology {
                delays: [8, 26, 120].map(millis),
                ..Topology::of(Setup::Plain, Tuning::Defaults)
            },
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
        },
    ]
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
