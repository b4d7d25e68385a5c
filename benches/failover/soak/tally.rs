//! What became of the GETs, by the episode in which they were due, and in all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::day::load::p99;
use crate::soak::GRACE;
use crate::soak::episode::Episode;
use crate::soak::viewers::SoakCall;

/// The head of the lines.
pub(crate) const HEADING: &str =
    "   TIME  WORD           REGION          LASTS   GETS  LOST       P99  MOVED";

/// A span in which no region is well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// Counts.
pub(crate) struct Tally {
    start: Instant,
    pub(crate) outages: Vec<Outage>,
    /// When each episode began.
    pub(crate) begins: Vec<Instant>,
    gets: usize,
    /// GETs that must not be lost, and were.
    pub(crate) lost: usize,
    /// What was lost for a reason.
    put_off: usize,
    in_outages: usize,
    /// By word, what was lost that must not be.
    by_word: BTreeMap<&'static str, usize>,
    waits: Vec<Duration>,
    lateness: Duration,
}

impl Tally {
    /// Counts from here.
    pub(crate) fn new(start: Instant) -> Self {
        Self {
            start,
            outages: Vec::new(),
            begins: Vec::new(),
            gets: 0,
            lost: 0,
            put_off: 0,
            in_outages: 0,
            by_word: BTreeMap::new(),
            waits: Vec::new(),
            lateness: Duration::ZERO,
        }
    }

    /// Counts an episode; its line, with what was lost below it.
    pub(crate) fn line(&mut self, episode: &Episode, calls: &[SoakCall]) -> String {
        let begin = calls.first().map_or(self.start, |call| call.due);
        let served = || calls.iter().filter(|call| call.outcome.is_ok());
        let pages = served().filter(|call| !call.is_download);
        let waits: Vec<_> = pages.map(|call| call.wait).collect();
        let moved = served().filter(|call| call.outcome == Ok(false)).count();
        let lost = || calls.iter().filter(|call| call.outcome.is_err());
        let in_outage = lost().filter(|call| self.is_in_outage(call)).count();
        let lost = lost().filter(|call| !self.is_in_outage(call));
        let (put_off, lost): (Vec<_>, Vec<_>) = lost.partition(|call| self.is_put_off(call));
        let mut text = format!(
            "{:>5} s  {:13}  {:14}  {:>3} s  {:>5}  {:>4}  {:>7}  {:>3} %\n",
            (begin - self.start).as_secs(),
            episode.word,
            episode.region.as_deref().unwrap_or("-"),
            episode.length.as_secs(),
            calls.len(),
            lost.len(),
            milliseconds(p99(waits.iter().copied())),
            (moved * 100).div_ceil(served().count().max(1)),
        );
        losses(&mut text, &lost, begin);
        self.gets += calls.len();
        self.lost += lost.len();
        self.put_off += put_off.len();
        self.in_outages += in_outage;
        if !lost.is_empty() {
            *self.by_word.entry(episode.word).or_default() += lost.len();
        }
        self.waits.extend(waits);
        let latest = calls.iter().map(|call| call.lateness).max();
        self.lateness = self.lateness.max(latest.unwrap_or_default());
        text
    }

    /// Whether it was under way while no region was well.
    fn is_in_outage(&self, call: &SoakCall) -> bool {
        let end = call.due + call.wait;
        let is_in = |outage: &Outage| call.due < outage.until && end > outage.from;
        self.outages.iter().any(is_in)
    }

    /// Whether its region asked for less when a fault had just begun: it must not be asked for
    /// elsewhere, and detection has a second.
    fn is_put_off(&self, call: &SoakCall) -> bool {
        let (from, until) = (call.due, call.due + call.wait);
        let mut begins = self.begins.iter();
        call.outcome.as_ref().is_err_and(|loss| loss.is_put_off)
            && begins.any(|begin| from < *begin + GRACE && until > *begin)
    }

    /// The last lines.
    pub(crate) fn sum(&self) -> String {
        let mut text = format!(
            "{} GETs, {} lost; besides, {} put off by their region and {} lost while no region was \
             well; p99 {}, sent {} late at most",
            self.gets,
            self.lost,
            self.put_off,
            self.in_outages,
            milliseconds(p99(self.waits.iter().copied())),
            milliseconds(self.lateness),
        );
        for (word, lost) in &self.by_word {
            // Writing to a string cannot fail.
            let _ = write!(text, "\nlost in {word}: {lost}");
        }
        text
    }
}

/// A line for each reason, with when the first and the last were due.
fn losses(text: &mut String, lost: &[&SoakCall], begin: Instant) {
    let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for call in lost {
        let reason = call.outcome.as_ref().err().map(|loss| loss.reason.as_str());
        let reason = (call.country, call.is_download, reason.unwrap_or_default());
        reasons.entry(reason).or_default().push(*call);
    }
    for ((country, is_download, reason), calls) in reasons {
        let kind = if is_download { "download" } else { "GET" };
        let since =
            |call: Option<&&SoakCall>| call.map_or(0.0, |call| (call.due - begin).as_secs_f64());
        let longest = calls.iter().map(|call| call.wait).max();
        let _ = writeln!(
            text,
            "    lost: {} x {country} {kind}, due {:.2} to {:.2} s, after {} at most: {reason}",
            calls.len(),
            since(calls.first()),
            since(calls.last()),
            milliseconds(longest.unwrap_or_default()),
        );
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
