//! What days are made of, and what is promised of a calm one.

use std::time::Duration;

use crate::day::{Callers, Day, Home, HomeShare, Promise, Step, What};
use crate::fault::{Behaviour, Whom};
use crate::setup::{Setup, Tuning};
use crate::topology::Topology;

/// The preferred region.
pub(crate) const NEAR: Whom = Whom::Regions(1);
/// All regions.
pub(crate) const ALL: Whom = Whom::Regions(3);

/// The share that must stay at home: the rest are a few trials of other regions.
pub(crate) const STAYS: f64 = 0.98;
/// When something begins, since there is a load.
pub(crate) const BEGIN: Duration = Duration::from_secs(3);

/// The usual viewers, and a day on which nothing happens.
pub(crate) fn day(name: &str, title: &str, length: u64) -> Day {
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
pub(crate) fn calm(length: u64, own: u64) -> Promise {
    Promise {
        p99: Some((Duration::ZERO, millis(own))),
        home: vec![
            between(0, length, HomeShare::AtLeast(STAYS)),
            between(length.saturating_sub(2), length, HomeShare::AtLeast(STAYS)),
        ],
        ..Promise::default()
    }
}

/// What is asked of the share at home between two seconds.
pub(crate) fn between(from: u64, until: u64, share: HomeShare) -> Home {
    let span = Duration::from_secs(from)..Duration::from_secs(until);
    Home { span, share }
}

/// So many milliseconds.
pub(crate) fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// From then on `whom` behaves so.
pub(crate) fn at(at: Duration, whom: Whom, behaviour: Behaviour) -> Step {
    let what = What::Regions(whom, behaviour);
    Step { at, what }
}

/// `whom` behaves so from `begin` for `length`, and then serves.
pub(crate) fn spell(
    begin: Duration,
    length: Duration,
    whom: Whom,
    behaviour: Behaviour,
) -> [Step; 2] {
    let end = begin + length;
    [
        at(begin, whom, behaviour),
        at(end, whom, Behaviour::Serving),
    ]
}

/// The same again and again, `every` so often, until `end`.
pub(crate) fn spells(
    every: Duration,
    length: Duration,
    end: Duration,
    behaviour: Behaviour,
) -> Vec<Step> {
    let begins = (1..).map(|turn| every * turn);
    let begins = begins.take_while(|begin| *begin + length < end);
    begins
        .flat_map(|begin| spell(begin, length, NEAR, behaviour))
        .collect()
}

/// Answers so many milliseconds later, and health so many.
pub(crate) fn later(answers: u64, probes: u64) -> Behaviour {
    Behaviour::Later {
        answers: millis(answers),
        probes: millis(probes),
    }
}

/// Regions that take 8, 26 and 120 ms.
pub(crate) fn closer() -> Topology {
    Topology {
        delays: [8, 26, 120].map(millis),
        ..Topology::of(Setup::Plain, Tuning::Defaults)
    }
}

/// The same, each time from half of it to one and a half.
pub(crate) fn varying(answers: u64, probes: u64) -> Behaviour {
    Behaviour::Varying {
        answers: millis(answers),
        probes: millis(probes),
    }
}
