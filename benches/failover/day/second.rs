//! Second incidents: something else fails while a region is on its way back.

use std::ops::Range;
use std::time::Duration;

use crate::day::calm::between;
use crate::day::{Callers, Day, HomeShare, Promise, Step, What};
use crate::fault::{Behaviour, Whom};
use crate::setup::{Setup, Tuning};
use crate::topology::Topology;

/// The main faults: each comes first and second.
const FAULTS: [(&str, Behaviour); 6] = [
    ("refuse", Behaviour::Down),
    ("hang", Behaviour::Hang),
    ("503", Behaviour::Unavailable { health_too: true }),
    ("reset", Behaviour::Reset),
    ("half", Behaviour::HalfBody),
    ("slow", SLOW),
];
const SLOW: Behaviour = Behaviour::Later {
    answers: Duration::from_secs(2),
    probes: Duration::ZERO,
};
/// When the first fault begins and ends.
const FIRST: Range<u64> = 2..5;
/// How long a region ramps.
const RAMP: Duration = Duration::from_secs(8);
/// How much longer than in the preferred region a GET may take: 115 ms to the third, 300 ms more.
const WAIT: Duration = Duration::from_millis(415);

/// Every row, in the order of the table.
pub(crate) fn days() -> Vec<Day> {
    let mut days = [down_again(), back_in_part(), stay_slow()].concat();
    for first in FAULTS {
        for second in FAULTS {
            days.push(pair(first, second, "held", 7, 13));
            days.push(pair(first, second, "ramping", 12, 18));
        }
    }
    days
}

/// The first two regions have a fault; when they are on their way back, the third has another.
fn pair(
    (first, fault): (&str, Behaviour),
    (second, other): (&str, Behaviour),
    when: &str,
    begin: u64,
    length: u64,
) -> Day {
    Day {
        steps: vec![
            at(FIRST.start, Whom::Regions(2), fault),
            at(FIRST.end, Whom::Regions(2), Behaviour::Serving),
            at(begin, Whom::Region(2), other),
            at(begin + 4, Whom::Region(2), Behaviour::Serving),
        ],
        promise: Promise {
            may_refuse: true,
            // Two that hang or are slow at once are a bad day of their own.
            wait: Some((Duration::from_secs(FIRST.end), WAIT)),
            ..Promise::default()
        },
        ..day(
            &format!("{first}-{second}-{when}"),
            &format!("near and next: {first}; while they are {when}, far: {second}"),
            length,
        )
    }
}

fn day(name: &str, title: &str, length: u64) -> Day {
    Day {
        name: name.to_owned(),
        title: title.to_owned(),
        topology: Topology::of(Setup::Plain, Tuning::Ramp(RAMP.as_secs())),
        length: Duration::from_secs(length),
        callers: vec![Callers::get("/page/*", 160), Callers::post("/form/*", 40)],
        steps: Vec::new(),
        promise: Promise {
            may_refuse: true,
            wait: Some((Duration::ZERO, WAIT)),
            ..Promise::default()
        },
    }
}

fn at(second: u64, whom: Whom, behaviour: Behaviour) -> Step {
    Step {
        at: Duration::from_secs(second),
        what: What::Regions(whom, behaviour),
    }
}

fn down(second: u64, region: usize) -> Step {
    at(second, Whom::Region(region), Behaviour::Down)
}

fn serves(second: u64, region: usize) -> Step {
    at(second, Whom::Region(region), Behaviour::Serving)
}

/// Regions go down one after the other, or again, or for a moment.
fn down_again() -> Vec<Day> {
    vec![
        Day {
            steps: vec![down(3, 0), down(6, 1), down(9, 2), serves(12, 0)],
            promise: Promise {
                may_refuse: true,
                outage: Some(Duration::from_secs(9)..Duration::from_secs(13)),
                ..Promise::default()
            },
            ..day(
                "in-turn",
                "near, next, far killed 3 s apart; near is back 3 s later",
                18,
            )
        },
        Day {
            steps: vec![down(2, 0), serves(5, 0), down(12, 0)],
            ..day(
                "again",
                "near killed, back, and killed for good while it ramps",
                20,
            )
        },
        Day {
            topology: Topology::of(Setup::Plain, Tuning::Defaults),
            steps: vec![down(3, 0), serves(5, 0)],
            promise: Promise {
                may_refuse: true,
                home: vec![between(22, 25, HomeShare::AtLeast(0.95))],
                ..Promise::default()
            },
            ..day(
                "short",
                "near killed for 2 s, failback as it is by default",
                25,
            )
        },
    ]
}

/// A region comes back, but not as it was.
fn back_in_part() -> Vec<Day> {
    vec![
        Day {
            topology: Topology {
                delays: [8, 16, 120].map(Duration::from_millis),
                ..Topology::of(Setup::Ordered, Tuning::Ramp(RAMP.as_secs()))
            },
            steps: vec![down(2, 0), at(5, Whom::Region(0), Behaviour::Cold)],
            promise: Promise {
                may_refuse: true,
                home: vec![between(17, 22, HomeShare::AtMost(0.5))],
                ..Promise::default()
            },
            ..day(
                "back-cold",
                "near killed, back 10 times slower (80 ms, next takes 16)",
                22,
            )
        },
        Day {
            topology: Topology::of(Setup::Endpoints, Tuning::Ramp(RAMP.as_secs())),
            steps: vec![down(2, 0), at(5, Whom::Endpoint(0), Behaviour::Serving)],
            promise: Promise {
                may_refuse: true,
                home: vec![between(18, 22, HomeShare::AtMost(0.45))],
                ..Promise::default()
            },
            ..day(
                "one-of-three",
                "near killed, one endpoint of its three is back",
                22,
            )
        },
    ]
}

/// A region stays slow after it was removed.
fn stay_slow() -> Vec<Day> {
    vec![
        stays_slow("stays-slow-4", "near 2 s slower for good, 4 GETs/s", 4, 40),
        stays_slow(
            "stays-slow-20",
            "near 2 s slower for good, 20 GETs/s",
            20,
            25,
        ),
        stays_slow(
            "stays-slow-50",
            "near 2 s slower for good, 50 GETs/s",
            50,
            25,
        ),
    ]
}

/// After a while nobody waits for near: 99 in 100 GETs take what next does, and 250 ms at most.
fn stays_slow(name: &str, title: &str, rate: u32, length: u64) -> Day {
    Day {
        callers: vec![Callers::get("/page/*", rate)],
        steps: vec![at(3, Whom::Region(0), SLOW)],
        promise: Promise {
            p99: Some((Duration::from_secs(8), Duration::from_millis(100))),
            ..Promise::default()
        },
        ..day(name, title, length)
    }
}
