//! A day under way: who asks for what, what happens meanwhile, and what is promised of it.

mod calm;
mod connections;
mod few;
mod lateness;
pub(crate) mod load;
mod operations;
pub(crate) mod ordinary;
pub(crate) mod play;
pub(crate) mod review;
pub(crate) mod second;
mod shares;

use std::ops::Range;
use std::time::Duration;

use crate::fault::{Behaviour, Whom};
use crate::topology::Topology;

/// What a busy machine may add to a wait.
pub(crate) const NOISE: Duration = Duration::from_millis(60);

/// One row of the tables of second incidents and of ordinary days.
#[derive(Clone, Debug)]
pub(crate) struct Day {
    /// The word on the command line.
    pub(crate) name: String,
    /// The first column.
    pub(crate) title: String,
    pub(crate) topology: Topology,
    pub(crate) length: Duration,
    pub(crate) callers: Vec<Callers>,
    /// What happens, in order.
    pub(crate) steps: Vec<Step>,
    pub(crate) promise: Promise,
}

/// Viewers who ask for the same kind of thing.
#[derive(Clone, Debug)]
pub(crate) struct Callers {
    /// What they ask for; `*` stands for one of twenty numbers.
    pub(crate) path: &'static str,
    pub(crate) is_post: bool,
    /// Requests a second of all of them together.
    pub(crate) rate: u32,
    /// How many of those are sent at the same time.
    pub(crate) at_once: u32,
    /// From when on, and until when.
    pub(crate) span: Range<Duration>,
    /// The last bytes of their addresses, which take turns.
    pub(crate) addresses: Range<u8>,
    /// What a balancer in front says of their country.
    pub(crate) country: Option<&'static str>,
    /// The region that is theirs.
    pub(crate) home: usize,
    /// Whether that region is well for them.
    pub(crate) stays: bool,
    /// How long the answer takes, besides what every answer of the region does.
    pub(crate) takes: Duration,
    /// The status that is right.
    pub(crate) expected: u16,
    /// Every so many requests the viewer leaves before the answer.
    pub(crate) aborts_every: Option<u32>,
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Since the start.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// These regions begin to behave so.
    Regions(Whom, Behaviour),
    /// Every nginx in front of the regions is told to reload.
    ReloadFronts,
    /// The proxy is short of processor time from now on, or no more.
    Starve(bool),
}

/// What must be true of the day.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promise {
    /// GETs that are due meanwhile may be lost: no region is well.
    pub(crate) outage: Option<Range<Duration>>,
    /// Whether a POST may get a clear refusal within a second of something that happens.
    pub(crate) may_refuse: bool,
    /// From when on, and how much longer than by itself a GET may take at most.
    pub(crate) wait: Option<(Duration, Duration)>,
    /// The same of 99 of 100 GETs.
    pub(crate) p99: Option<(Duration, Duration)>,
    /// Where the traffic is.
    pub(crate) home: Vec<Home>,
    /// How far the share of the home region may rise within two seconds.
    pub(crate) rise: Option<f64>,
}

/// The share of requests that are at home in a span of time.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) span: Range<Duration>,
    pub(crate) share: HomeShare,
}

/// A bound of that share, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HomeShare {
    /// Served by the home region, or at least asked of it: hedges and second attempts count.
    AtLeast(f64),
    /// Served by the home region.
    AtMost(f64),
}

impl Callers {
    /// GETs by forty viewers, all the time.
    pub(crate) fn get(path: &'static str, rate: u32) -> Self {
        Self {
            path,
            is_post: false,
            rate,
            at_once: 1,
            span: Duration::ZERO..Duration::MAX,
            addresses: 1..41,
            country: None,
            home: 0,
            stays: true,
            takes: Duration::ZERO,
            expected: 200,
            aborts_every: None,
        }
    }

    /// The same as POSTs.
    pub(crate) fn post(path: &'static str, rate: u32) -> Self {
        Self {
            is_post: true,
            ..Self::get(path, rate)
        }
    }

    /// Whether the answer is the large body.
    pub(crate) fn is_large(&self) -> bool {
        self.path.starts_with("/large")
    }
}

impl Promise {
    /// The promise in few words.
    pub(crate) fn text(&self) -> String {
        let mut words = Vec::new();
        words.push(match &self.outage {
            None => "none lost".to_owned(),
            Some(span) => format!(
                "none lost but from {} to {}",
                seconds(span.start),
                seconds(span.end)
            ),
        });
        if let Some((_, wait)) = self.wait {
            words.push(format!("waits < +{}", seconds(wait + NOISE)));
        }
        if let Some((_, p99)) = self.p99 {
            words.push(format!("p99 < +{}", seconds(p99 + NOISE)));
        }
        for Home { span, share } in &self.home {
            let (bound, share) = match share {
                HomeShare::AtLeast(share) => (">", share),
                HomeShare::AtMost(share) => ("<", share),
            };
            let (from, until) = (span.start.as_secs_f64(), seconds(span.end));
            words.push(format!(
                "{bound} {:.0} % home {from}-{until}",
                share * 100.0
            ));
        }
        if let Some(rise) = self.rise {
            words.push(format!("rises < {:.0} points in 2 s", rise * 100.0));
        }
        words.join(", ")
    }
}

/// A time in seconds.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 100.0).round() / 100.0)
}
