//! What goes wrong in the preferred region.

use std::time::Duration;

use crate::setup::Setup;
use crate::timing::Timing;

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
    /// Answers this much later, and health so much.
    Later { answers: Duration, probes: Duration },
    /// The same, each time from half of it to one and a half.
    Varying { answers: Duration, probes: Duration },
    /// Nothing happens; what is due meanwhile is answered as soon as it is over.
    Paused,
    /// Serves so many requests a second; others wait for a while, or get 503. Health is as usual.
    Limited(u32),
    /// Reads the request, then resets the connection, or the stream with `INTERNAL_ERROR`.
    Reset,
    /// Sends the head and half of the body, then nothing; health is as usual.
    HalfBody,
    /// Sends the head of the answer, then nothing; health is as usual.
    HeadOnly,
    /// Answers 503 with `Retry-After`, health too.
    Overloaded,
    /// Answers 429 with `Retry-After`; health is as usual.
    TooMany,
    /// Every third health check is never answered; requests are.
    LostProbes,
    /// Never answers a request whose way is noted; all else is as usual.
    HoldBurst,
    /// Takes ten times its delay.
    Cold,
    /// Its health names another region.
    Stranger,
    /// A large download is reset in the middle; all else is as usual.
    CutDownload,
    /// A large download stands still in the middle; all else is as usual.
    StallDownload,
    /// Idle connections are closed, TLS handshakes of new ones get no answer.
    HandshakeHang,
    /// Idle connections are closed, new ones are shown an expired certificate.
    Expired,
    /// HTTP/2: `GOAWAY` after every so many requests of a connection, which still are answered.
    GoAway(usize),
    /// HTTP/2: `GOAWAY` on all connections once; what is under way is answered, new ones serve.
    Reloaded,
    /// HTTP/2: `GOAWAY` once that says of all that is under way that nobody looked at it.
    GoneAway,
    /// HTTP/2: `REFUSED_STREAM` once to all that is under way.
    RefusedOnce,
    /// HTTP/2: `REFUSED_STREAM` to everything.
    RefusedStream,
    /// HTTP/2: bodies of requests get no window.
    NoWindow,
    /// The region serves; its name, or every region's, resolves to something else.
    Names(Say),
}

/// What the name server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// The usual addresses of each name.
    Usual,
    /// So many addresses of the preferred region.
    First(usize),
    /// No address for any name.
    Empty,
    NxDomain,
    ServFail,
    /// Every address that the preferred region has: 60.
    Many,
    /// The set of this number instead of the usual addresses of the preferred region.
    Moved(usize),
    /// What it answered last.
    Same,
}

/// Who has the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// So many regions, the preferred one first.
    Regions(usize),
    /// This region alone.
    Region(usize),
    /// One endpoint of the preferred region.
    Endpoint(usize),
}

impl Whom {
    /// Regions that are lost to the viewer.
    pub(crate) fn regions(self) -> usize {
        match self {
            Self::Regions(count) => count,
            Self::Region(_) | Self::Endpoint(_) => 1,
        }
    }
}

/// How the fault goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Steady(Behaviour),
    /// They take turns of [`TURN`].
    Turns(Behaviour, Behaviour),
    /// [`Behaviour::HoldBurst`] until the whole burst is there, then the region goes down.
    Burst,
    /// The addresses of the preferred region are replaced every [`REPLACED_EVERY`].
    Moving,
}

/// Which requests may be lost without missing the bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgiven {
    None,
    /// Until the region has been seen to be overloaded: what answers `Retry-After` is not retried.
    FirstSecond,
    /// Until two seconds after the fault began, and it may wait: 1,000 requests more keep the
    /// machine busy, and most of them must not be tried again.
    Burst,
    /// Until a second after the fault: there is no region left.
    WhileItLasts,
    /// The same, and they may wait for time-outs: nothing answers at all.
    HoweverLong,
}

impl Forgiven {
    /// Until when, since the start, requests may be lost.
    pub(crate) fn until(self, timing: Timing) -> Duration {
        let healed = timing.before + timing.fault;
        match self {
            Self::None => Duration::ZERO,
            Self::FirstSecond => timing.before + GRACE,
            Self::Burst => timing.before + 2 * GRACE,
            Self::WhileItLasts | Self::HoweverLong => healed + GRACE,
        }
    }

    /// Whether those requests may also wait.
    pub(crate) fn may_wait(self) -> bool {
        matches!(self, Self::Burst | Self::HoweverLong)
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The word on the command line.
    pub(crate) name: &'static str,
    /// The first column.
    pub(crate) title: &'static str,
    /// What the region does while the fault lasts.
    pub(crate) course: Course,
    /// How it serves when the fault is over.
    pub(crate) after: Behaviour,
    /// Who has it.
    pub(crate) whom: Whom,
    /// What kind of regions it needs.
    pub(crate) setup: Setup,
    /// Moves of the preferred region that are in order: away and back, or none.
    pub(crate) moves: usize,
    /// Whether traffic has to leave the region although it answers.
    pub(crate) must_leave: bool,
    /// Which lost requests are in order.
    pub(crate) forgiven: Forgiven,
    /// How long it lasts at least, but for a quick look.
    pub(crate) at_least: Duration,
}

/// When nobody is to notice the fault any more.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// How long a flapping region keeps one state.
const TURN: Duration = Duration::from_millis(700);
/// How long the addresses of a region stay the same while they move.
const REPLACED_EVERY: Duration = Duration::from_secs(3);

impl Fault {
    /// What the region does `since` the fault began, and how long until that may change.
    pub(crate) fn at(&self, since: Duration) -> (Behaviour, Duration) {
        let number = |every: Duration| since.as_millis() / every.as_millis();
        let rest = |every: Duration| {
            let gone = since.as_millis() % every.as_millis();
            every.saturating_sub(Duration::from_millis(u64::try_from(gone).unwrap_or(0)))
        };
        match self.course {
            Course::Steady(behaviour) => (behaviour, Duration::MAX),
            Course::Turns(first, second) => {
                let is_second = number(TURN) % 2 == 1;
                (if is_second { second } else { first }, rest(TURN))
            }
            Course::Burst => (Behaviour::Down, Duration::MAX),
            Course::Moving => {
                let set = usize::try_from(number(REPLACED_EVERY) + 1).unwrap_or(usize::MAX);
                (Behaviour::Names(Say::Moved(set)), rest(REPLACED_EVERY))
            }
        }
    }
}
