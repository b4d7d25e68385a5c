//! Connections end, in order.

use std::time::Duration;

use crate::day::calm::{BEGIN, NEAR, at, calm, day, millis, spell};
use crate::day::{Callers, Day, Step, What};
use crate::fault::Behaviour;
use crate::setup::{Setup, Tuning};
use crate::topology::{Network, Topology};

/// Connections end, in order.
pub(crate) fn days() -> Vec<Day> {
    let http2 = Topology::of(Setup::Http2, Tuning::Defaults);
    let in_flight = |name, title, behaviour| Day {
        topology: http2,
        callers: vec![Callers {
            takes: millis(200),
            at_once: 60,
            ..Callers::get("/page/*?later=200", 20)
        }],
        steps: (1..4)
            .flat_map(|turn| spell(BEGIN * turn + millis(100), millis(500), NEAR, behaviour))
            .collect(),
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
            "HTTP/2: GOAWAY with 60 in flight, none looked at, every 3 s",
            Behaviour::GoneAway,
        ),
        in_flight(
            "refused-flight",
            "HTTP/2: REFUSED_STREAM to 60 in flight, every 3 s",
            Behaviour::RefusedOnce,
        ),
    ]
}
