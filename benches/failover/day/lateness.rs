//! Something is late, for a moment or for everyone.

use std::time::Duration;

use crate::day::calm::{
    ALL, BEGIN, NEAR, at, calm, closer, day, later, millis, spell, spells, varying,
};
use crate::day::{Callers, Day, Step, What};
use crate::fault::Behaviour;
use crate::setup::{Setup, Tuning};
use crate::topology::{Network, Topology};

/// Something is late, for a moment or for everyone.
pub(crate) fn days() -> Vec<Day> {
    let shared = |name, title, extra| Day {
        topology: closer(),
        steps: spell(BEGIN, millis(10_000), ALL, varying(extra, extra)).into(),
        promise: calm(16, extra * 3 / 2),
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
            "a shared dependency: all regions and probes some 150 ms later",
            150,
        ),
        shared("shared-400", "the same, some 400 ms later", 400),
        shared("shared-2s", "the same, some 2 s later", 2000),
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
            promise: calm(18, 225),
            ..day(
                "flush",
                "a cache flush: all answers some 150 ms later, less each second (10 s for 30)",
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
            promise: calm(20, 600),
            ..day(
                "starved",
                "the proxy is throttled to 10 %, stands still for 20 to 300 ms; near answers in 5 ms",
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
        at(BEGIN + millis(1000 * second), ALL, varying(extra, 0))
    });
    slower
        .chain([at(BEGIN + millis(10_000), ALL, Behaviour::Serving)])
        .collect()
}
