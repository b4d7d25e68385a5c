//! What can be wrong with a simulated region.

use std::time::Duration;

/// How long a flapping region keeps one state.
pub const TURN: Duration = Duration::from_millis(700);
/// How long a cold region takes to become warm.
pub const WARM_AFTER: Duration = Duration::from_secs(60);
/// How long a pausing region stands still: a long garbage collection.
pub const PAUSE: Duration = Duration::from_millis(150);
/// From the end of one pause to the next. Where it is real it is minutes; so it can be watched.
const PAUSE_AGAIN: Duration = Duration::from_secs(10);
/// How long an endpoint is gone in a deploy.
const RESTART: Duration = Duration::from_secs(1);
/// From when one endpoint is back to when the next goes: until it has proved itself.
const NEXT_RESTART: Duration = Duration::from_secs(2);
/// How many endpoints each region of `meridian demo` has: zones, so to speak. A deploy restarts so
/// many.
pub(crate) const ENDPOINTS: usize = 3;

/// What is wrong with a simulated region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is gone: open connections are reset, new ones refused.
    Fail,
    /// Every answer but the health check's comes two seconds late.
    Slow,
    /// Connections are accepted, nothing is answered.
    Hang,
    /// The health check says fine, everything else is a 503.
    Gray,
    /// Everything is a 503, the health check too.
    Unavailable,
    /// Every second request that is not for health is a 503.
    Flaky,
    /// Each request is read, then its connection is reset.
    Reset,
    /// Head and half of the body, then silence; the health check is whole.
    Half,
    /// [`Fault::Fail`] and [`Fault::None`] take turns, each for [`TURN`].
    Flap,
    /// New connections get no answer at all, open ones fall silent.
    Blackhole,
    /// Everything is a 503 with `Retry-After`.
    Overload,
    /// Everything but the health check is a 429 with `Retry-After`.
    Throttle,
    /// Everything takes ten times as long; over after [`WARM_AFTER`].
    Cold,
    /// It answers, but says that it is another region.
    Foreign,
    /// Every third health check is never answered.
    Lossy,
    /// The first endpoint is as with [`Fault::Fail`], the others are well.
    EndpointFail,
    /// The first endpoint is as with [`Fault::Slow`], the others are well.
    EndpointSlow,
    /// The first endpoint is as with [`Fault::Gray`], the others are well.
    EndpointGray,
    /// `/download` breaks off in its middle.
    Cut,
    /// `/download` stands still in its middle.
    Stall,
    /// [`Fault::Hang`] for [`PAUSE`], over and over; an ordinary day.
    Pause,
    /// One endpoint after the other is as with [`Fault::Fail`] for a moment; over after the last
    /// one. An ordinary day.
    Deploy,
}

/// A word of the command line and of the control endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Word {
    /// The word.
    pub word: &'static str,
    /// The fault it brings about.
    #[serde(skip)]
    pub fault: Fault,
    /// What it makes a region do, as an order.
    pub about: &'static str,
    /// How a region then behaves, as half a sentence.
    #[serde(skip)]
    pub so: &'static str,
}

const fn word(word: &'static str, fault: Fault, about: &'static str, so: &'static str) -> Word {
    Word {
        word,
        fault,
        about,
        so,
    }
}

impl Fault {
    /// All words, in the order in which help lists them.
    pub const WORDS: [Word; 23] = [
        word(
            "fail",
            Self::Fail,
            "Refuse connections and reset the open ones",
            "refuses connections; those that were open are reset",
        ),
        word(
            "slow",
            Self::Slow,
            "Answer 2 s late; the health check stays quick",
            "answers 2 s late; its health check stays quick",
        ),
        word(
            "hang",
            Self::Hang,
            "Accept connections and never answer",
            "accepts connections and never answers",
        ),
        word(
            "gray",
            Self::Gray,
            "Answer 503 to everything but the health check",
            "answers 503 to everything but its health check",
        ),
        word(
            "unavailable",
            Self::Unavailable,
            "Answer 503 to everything, the health check too",
            "answers 503 to everything, its health check too",
        ),
        word(
            "flaky",
            Self::Flaky,
            "Answer 503 to every second request; the health check is fine",
            "answers 503 to every second request; its health check is fine",
        ),
        word(
            "reset",
            Self::Reset,
            "Read each request, then reset its connection",
            "reads each request, then resets its connection",
        ),
        word(
            "half",
            Self::Half,
            "Send the head and half of each body, then nothing",
            "sends the head and half of each body, then nothing; its health check is fine",
        ),
        word(
            "flap",
            Self::Flap,
            "Fail and be well again by turns of 700 ms",
            "fails and is well again by turns of 700 ms",
        ),
        word(
            "blackhole",
            Self::Blackhole,
            "Let connects go unanswered and open connections fall silent",
            "lets connects go unanswered; open connections are silent",
        ),
        word(
            "overload",
            Self::Overload,
            "Answer 503 with Retry-After to everything",
            "answers 503 with Retry-After to everything, its health check too",
        ),
        word(
            "throttle",
            Self::Throttle,
            "Answer 429 with Retry-After to everything but the health check",
            "answers 429 with Retry-After to everything but its health check",
        ),
        word(
            "foreign",
            Self::Foreign,
            "Answer in the name of another region",
            "answers in the name of another region",
        ),
        word(
            "lossy",
            Self::Lossy,
            "Never answer every third health check",
            "never answers every third health check; requests are fine",
        ),
        word(
            "endpoint-fail",
            Self::EndpointFail,
            "Refuse and reset connections at the first endpoint only",
            "refuses and resets connections at its first endpoint; the others are well",
        ),
        word(
            "endpoint-slow",
            Self::EndpointSlow,
            "Answer 2 s late at the first endpoint only",
            "answers 2 s late at its first endpoint; the others are well",
        ),
        word(
            "endpoint-gray",
            Self::EndpointGray,
            "Answer 503 at the first endpoint only; the health check is fine",
            "answers 503 at its first endpoint; the others are well",
        ),
        word(
            "cut",
            Self::Cut,
            "Break /download off in its middle",
            "breaks /download off in its middle; all else is well",
        ),
        word(
            "stall",
            Self::Stall,
            "Let /download stand still in its middle",
            "lets /download stand still in its middle; all else is well",
        ),
        word(
            "pause",
            Self::Pause,
            "Stand still for 150 ms every 10 s, as for a garbage collection",
            "stands still for 150 ms every 10 s; all else is well",
        ),
        word(
            "deploy",
            Self::Deploy,
            "Restart the endpoints one after the other, once",
            "restarts its endpoints one after the other: resets, 1 s away, back, 2 s to the next",
        ),
        word(
            "cold",
            Self::Cold,
            "Be well again, but 10 times slower for the first 60 s",
            "is well again, but 10 times slower for 60 s",
        ),
        word("heal", Self::None, "Be well again", "is well"),
    ];

    /// The fault a word of the command line stands for.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let found = Self::WORDS.iter().find(|known| known.word == word)?;
        Some(found.fault)
    }

    /// How long this fault keeps the state it has after `turn` changes; `None` if it stays as it is.
    #[must_use]
    pub fn turn(self, turn: u32) -> Option<Duration> {
        let is_first = turn.is_multiple_of(2);
        match self {
            Self::Flap => Some(TURN),
            Self::Cold => Some(WARM_AFTER),
            Self::Pause => Some(if is_first { PAUSE } else { PAUSE_AGAIN }),
            Self::Deploy => Some(if is_first { RESTART } else { NEXT_RESTART }),
            _ => None,
        }
    }

    /// Whether it is over after `turn` changes of state.
    #[must_use]
    pub fn is_over(self, turn: u32) -> bool {
        match self {
            Self::Cold => turn > 0,
            Self::Deploy => turn as usize >= 2 * ENDPOINTS - 1,
            _ => false,
        }
    }

    /// What this fault comes to at one endpoint of the region, after `turn` changes of state.
    #[must_use]
    pub fn at(self, endpoint: usize, turn: u32) -> Self {
        match self {
            Self::Flap if turn.is_multiple_of(2) => Self::Fail,
            Self::Flap => Self::None,
            Self::Pause if turn.is_multiple_of(2) => Self::Hang,
            Self::Deploy if turn as usize == 2 * endpoint => Self::Fail,
            Self::Pause | Self::Deploy => Self::None,
            Self::EndpointFail | Self::EndpointSlow | Self::EndpointGray if endpoint > 0 => {
                Self::None
            }
            Self::EndpointFail => Self::Fail,
            Self::EndpointSlow => Self::Slow,
            Self::EndpointGray => Self::Gray,
            as_it_is => as_it_is,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_stands_for_another_fault() {
        for known in Fault::WORDS {
            assert_eq!(Fault::from_word(known.word), Some(known.fault));
        }
        assert_eq!(Fault::from_word("explode"), None);
    }

    #[test]
    fn a_fault_of_one_endpoint_leaves_the_others_well() {
        assert_eq!(Fault::EndpointGray.at(0, 0), Fault::Gray);
        assert_eq!(Fault::EndpointGray.at(1, 0), Fault::None);
        assert_eq!(Fault::Gray.at(2, 0), Fault::Gray);
    }

    #[test]
    fn a_flapping_region_takes_turns_and_a_pausing_one_stands_still_in_each_second_one() {
        let turns = |fault: Fault| [0, 1, 2].map(|turn| fault.at(0, turn));
        assert_eq!(turns(Fault::Flap), [Fault::Fail, Fault::None, Fault::Fail]);
        assert_eq!(turns(Fault::Pause), [Fault::Hang, Fault::None, Fault::Hang]);
    }

    #[test]
    fn a_deploy_restarts_one_endpoint_after_the_other_and_ends() {
        let turns = || (0..).take_while(|turn| !Fault::Deploy.is_over(*turn));
        let away = |endpoint| {
            let away = turns().filter(move |turn| Fault::Deploy.at(endpoint, *turn) == Fault::Fail);
            away.collect::<Vec<_>>()
        };
        assert_eq!(
            (0..ENDPOINTS).map(away).collect::<Vec<_>>(),
            [[0], [2], [4]]
        );
    }
}
