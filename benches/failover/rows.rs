//! The rows of the table.

use std::time::Duration;

use crate::fault::{Behaviour, Course, Fault, Forgiven, Say, Whom};
use crate::setup::Setup;

const fn fault(name: &'static str, title: &'static str, behaviour: Behaviour) -> Fault {
    Fault {
        name,
        title,
        course: Course::Steady(behaviour),
        after: Behaviour::Serving,
        whom: Whom::Regions(1),
        setup: Setup::Plain,
        moves: 2,
        must_leave: false,
        forgiven: Forgiven::None,
        at_least: Duration::ZERO,
    }
}

const fn endpoint(name: &'static str, title: &'static str, behaviour: Behaviour) -> Fault {
    Fault {
        whom: Whom::Endpoint(0),
        setup: Setup::Endpoints,
        moves: 0,
        ..fault(name, title, behaviour)
    }
}

const fn with(setup: Setup, fault: Fault) -> Fault {
    Fault { setup, ..fault }
}

const fn names(name: &'static str, title: &'static str, say: Say) -> Fault {
    Fault {
        setup: Setup::Names,
        after: Behaviour::Names(Say::Usual),
        moves: 0,
        ..fault(name, title, Behaviour::Names(say))
    }
}

const SLOW: Behaviour = Behaviour::Later {
    answers: Duration::from_secs(2),
    probes: Duration::ZERO,
};

/// Every row, in the order of the table.
pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        moves: 0,
        ..fault("none", "nothing, for comparison", Behaviour::Serving)
    },
    fault("killed", "process killed", Behaviour::Down),
    fault("hang", "hangs: accepts, never answers", Behaviour::Hang),
    fault(
        "503",
        "answers 503, health too",
        Behaviour::Unavailable { health_too: true },
    ),
    fault(
        "gray",
        "answers 503, health says fine",
        Behaviour::Unavailable { health_too: false },
    ),
    fault("slow", "2 s slower, health fine", SLOW),
    fault("reset", "connections reset", Behaviour::Reset),
    fault("half", "half a body, then silence", Behaviour::HalfBody),
    Fault {
        course: Course::Turns(Behaviour::Down, Behaviour::Serving),
        ..fault("flap", "up and down every 700 ms", Behaviour::Down)
    },
    fault("blackhole", "connects get no answer", Behaviour::Blackhole),
    fault(
        "half503",
        "half the requests 503",
        Behaviour::HalfUnavailable,
    ),
    Fault {
        after: Behaviour::Cold,
        setup: Setup::Ordered,
        ..fault("cold", "killed, back 10 times slower", Behaviour::Down)
    },
    Fault {
        forgiven: Forgiven::FirstSecond,
        ..fault(
            "overload",
            "503 with Retry-After, health too",
            Behaviour::Overloaded,
        )
    },
    Fault {
        forgiven: Forgiven::FirstSecond,
        ..fault(
            "429",
            "429 with Retry-After, health fine",
            Behaviour::TooMany,
        )
    },
    Fault {
        setup: Setup::Named,
        must_leave: true,
        at_least: Duration::from_secs(12),
        ..fault(
            "stranger",
            "health names another region",
            Behaviour::Stranger,
        )
    },
    Fault {
        moves: 0,
        ..fault("probes", "every third probe lost", Behaviour::LostProbes)
    },
    Fault {
        whom: Whom::Regions(2),
        ..fault("two", "two regions killed at once", Behaviour::Down)
    },
    Fault {
        whom: Whom::Regions(3),
        moves: 0,
        forgiven: Forgiven::WhileItLasts,
        ..fault("all", "all three regions killed", Behaviour::Down)
    },
    Fault {
        whom: Whom::Regions(3),
        moves: 0,
        forgiven: Forgiven::HoweverLong,
        ..fault(
            "network",
            "the proxy's own network gone",
            Behaviour::Blackhole,
        )
    },
    endpoint("one-dead", "one endpoint of three dead", Behaviour::Down),
    endpoint("one-slow", "one endpoint of three 2 s slower", SLOW),
    endpoint(
        "one-gray",
        "one endpoint of three 503, health fine",
        Behaviour::Unavailable { health_too: false },
    ),
    with(
        Setup::Downloads,
        fault("cut", "downloads cut in the middle", Behaviour::CutDownload),
    ),
    with(
        Setup::Downloads,
        fault(
            "stall",
            "downloads stall in the middle",
            Behaviour::StallDownload,
        ),
    ),
    with(
        Setup::Tls,
        fault("tls-hang", "TLS handshake hangs", Behaviour::HandshakeHang),
    ),
    with(
        Setup::Tls,
        fault("expired", "certificate expired", Behaviour::Expired),
    ),
    Fault {
        moves: 0,
        ..with(
            Setup::Http2,
            fault(
                "goaway",
                "HTTP/2: GOAWAY every 20 requests",
                Behaviour::GoAway(20),
            ),
        )
    },
    with(
        Setup::Http2,
        fault(
            "refused",
            "HTTP/2: REFUSED_STREAM to all",
            Behaviour::RefusedStream,
        ),
    ),
    with(
        Setup::Http2,
        fault("h2-reset", "HTTP/2: streams reset", Behaviour::Reset),
    ),
    with(
        Setup::Http2,
        fault(
            "window",
            "HTTP/2: no window for bodies",
            Behaviour::NoWindow,
        ),
    ),
    with(
        Setup::Http2,
        fault(
            "h2-head",
            "HTTP/2: a head, then silence",
            Behaviour::HeadOnly,
        ),
    ),
    names("dns-empty", "DNS: no addresses", Say::Empty),
    names("nxdomain", "DNS: NXDOMAIN", Say::NxDomain),
    names("servfail", "DNS: SERVFAIL", Say::ServFail),
    names("dns-60", "DNS: 60 addresses", Say::Many),
    Fault {
        course: Course::Moving,
        after: Behaviour::Names(Say::Same),
        at_least: Duration::from_secs(14),
        ..names("dns-moves", "DNS: all addresses new every 3 s", Say::Same)
    },
    Fault {
        setup: Setup::Close,
        moves: 1,
        at_least: Duration::from_mins(1),
        ..fault(
            "close",
            "two regions 3 ms apart, 5 ms of noise",
            Behaviour::Serving,
        )
    },
    Fault {
        course: Course::Burst,
        setup: Setup::Burst,
        forgiven: Forgiven::Burst,
        ..fault("burst", "1,000 more fail at one instant", Behaviour::Down)
    },
];

/// The row of this name.
pub(crate) fn named(name: &str) -> Option<Fault> {
    FAULTS.iter().copied().find(|fault| fault.name == name)
}
