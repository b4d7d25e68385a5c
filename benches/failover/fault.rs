//! What goes wrong in the preferred region.

use std::time::Duration;

/// What a simulated region does with a request at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers after its delay.
    Serving,
    /// The port is closed, open connections are reset.
    Down,
    /// New connections get no answer to their SYN, open ones are reset.
    Blackhole,
    /// Accepts and reads, never answers; health neither.
    Hang,
    /// Answers 503 to everything, or to all but health.
    Unavailable { health_too: bool },
    /// Every second request that is not for health gets 503.
    HalfUnavailable,
    /// Answers this much later; health is as usual.
    Slow(Duration),
    /// Reads the request, then resets the connection.
    Reset,
    /// Sends the head and half of the body, then nothing; health is as usual.
    HalfBody,
    /// Answers 503 with `Retry-After`, health too.
    Overloaded,
    /// Every third health check is never answered; requests are.
    LostProbes,
    /// Takes ten times its delay.
    Cold,
}

/// Which requests may be lost without missing the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgiven {
    None,
    /// Until the region has been seen to be overloaded: what answers `Retry-After` is not retried.
    FirstSecond,
    /// Until a second after the fault: there is no region left.
    WhileItLasts,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// The first column.
    pub(crate) title: &'static str,
    /// What the region does while the fault lasts; where there are two, they take turns.
    turns: [Behaviour; 2],
    /// How it serves when the fault is over.
    pub(crate) after: Behaviour,
    /// How many regions have it, the preferred one first.
    pub(crate) regions: usize,
    /// Moves of the preferred region that are in order: away and back, or none.
    pub(crate) moves: usize,
    /// Which lost requests are in order.
    pub(crate) forgiven: Forgiven,
}

/// How long a flapping region keeps one state.
const TURN: Duration = Duration::from_millis(700);

const fn fault(name: &'static str, title: &'static str, behaviour: Behaviour) -> Fault {
    Fault {
        name,
        title,
        turns: [behaviour, behaviour],
        after: Behaviour::Serving,
        regions: 1,
        moves: 2,
        forgiven: Forgiven::None,
    }
}

/// Every row, in the order of the table.
pub(crate) const FAULTS: [Fault; 16] = [
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
    fault(
        "slow",
        "2 s slower, health fine",
        Behaviour::Slow(Duration::from_secs(2)),
    ),
    fault("reset", "connections reset", Behaviour::Reset),
    fault("half", "half a body, then silence", Behaviour::HalfBody),
    Fault {
        turns: [Behaviour::Down, Behaviour::Serving],
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
        moves: 0,
        ..fault("probes", "every third probe lost", Behaviour::LostProbes)
    },
    Fault {
        regions: 2,
        ..fault("two", "two regions killed at once", Behaviour::Down)
    },
    Fault {
        regions: 3,
        moves: 0,
        forgiven: Forgiven::WhileItLasts,
        ..fault("all", "all three regions killed", Behaviour::Down)
    },
];

impl Fault {
    /// The fault of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        FAULTS.into_iter().find(|fault| fault.name == name)
    }

    /// What the region does `since` the fault began, and how long until that may change.
    pub(crate) fn at(&self, since: Duration) -> (Behaviour, Duration) {
        let turn = since.as_millis() / TURN.as_millis();
        let next = TURN.as_millis() * (turn + 1) - since.as_millis();
        let behaviour = self.turns[usize::from(turn % 2 == 1)];
        (
            behaviour,
            Duration::from_millis(u64::try_from(next).unwrap_or(1)),
        )
    }
}
