//! What became of the requests, by the second and in all.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::cli::counts::add;
use crate::cli::time::seconds;

/// Moves that are remembered.
const MOVES: usize = 64;

/// One request that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// POST, not GET.
    pub(super) is_write: bool,
    /// From when it was due until its last byte, or until it was lost.
    pub(super) wait: Duration,
    /// The region that gave the answer, or what came instead.
    pub(super) outcome: Result<String, String>,
}

/// Requests that have not ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnderWay {
    pub(super) requests: u64,
    /// How long the oldest has waited.
    pub(super) oldest: Option<Duration>,
}

/// The requests that ended within one second.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct SecondLine {
    pub(super) answered: u64,
    pub(super) lost: u64,
    /// Under way at its end.
    pub(super) waiting: u64,
    #[serde(rename = "p50_seconds", serialize_with = "seconds")]
    pub(super) p50: Duration,
    #[serde(rename = "p99_seconds", serialize_with = "seconds")]
    pub(super) p99: Duration,
    /// The longest wait, of requests under way too.
    #[serde(rename = "worst_seconds", serialize_with = "seconds")]
    pub(super) worst: Duration,
    /// Answers by region.
    pub(super) regions: BTreeMap<String, u64>,
    /// What came instead of answers.
    pub(super) losses: BTreeMap<String, u64>,
}

/// All of it.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Summary {
    #[serde(rename = "elapsed_seconds", serialize_with = "seconds")]
    pub(super) elapsed: Duration,
    pub(super) get: Totals,
    pub(super) post: Totals,
    /// Had not ended when it was over.
    pub(super) waiting: u64,
    pub(super) regions: BTreeMap<String, u64>,
    pub(super) losses: BTreeMap<String, u64>,
    /// The region that served the most, second by second, without repetitions.
    pub(super) moves: Vec<String>,
}

/// The requests of one method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) lost: u64,
    #[serde(rename = "longest_wait_seconds", serialize_with = "seconds")]
    pub(super) longest: Duration,
}

/// Counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The waits of this second, answers only.
    waits: Vec<Duration>,
    second: SecondLine,
    all: Summary,
}

impl Tally {
    /// A request has been sent.
    pub(super) fn sent(&mut self, is_write: bool) {
        self.totals(is_write).sent += 1;
    }

    /// A request has ended.
    pub(super) fn count(&mut self, sample: Sample) {
        let totals = self.totals(sample.is_write);
        totals.longest = totals.longest.max(sample.wait);
        totals.lost += u64::from(sample.outcome.is_err());
        self.second.worst = self.second.worst.max(sample.wait);
        match sample.outcome {
            Ok(region) => {
                self.waits.push(sample.wait);
                self.second.answered += 1;
                add(&mut self.all.regions, &region);
                add(&mut self.second.regions, &region);
            }
            Err(reason) => {
                let method = if sample.is_write { "POST" } else { "GET" };
                let reason = format!("{method} {reason}");
                self.second.lost += 1;
                add(&mut self.all.losses, &reason);
                add(&mut self.second.losses, &reason);
            }
        }
    }

    fn totals(&mut self, is_write: bool) -> &mut Totals {
        if is_write {
            &mut self.all.post
        } else {
            &mut self.all.get
        }
    }

    /// The second that is over; another begins.
    pub(super) fn end_second(&mut self, under_way: &UnderWay) -> SecondLine {
        let mut second = std::mem::take(&mut self.second);
        let mut waits = std::mem::take(&mut self.waits);
        waits.sort_unstable();
        second.p50 = quantile(&waits, 50);
        second.p99 = quantile(&waits, 99);
        second.worst = second.worst.max(under_way.oldest.unwrap_or_default());
        second.waiting = under_way.requests;
        let most = second.regions.iter().max_by_key(|(_, count)| **count);
        if let Some((region, _)) = most {
            let moves = &mut self.all.moves;
            if moves.last() != Some(region) && moves.len() < MOVES {
                moves.push(region.clone());
            }
        }
        second
    }

    /// The same, if anything ended in it.
    pub(super) fn end_partial_second(&mut self, under_way: &UnderWay) -> Option<SecondLine> {
        let ended = self.second.answered + self.second.lost;
        (ended > 0).then(|| self.end_second(under_way))
    }

    /// All of it, after `elapsed`.
    pub(super) fn summary(self, elapsed: Duration, under_way: &UnderWay) -> Summary {
        Summary {
            elapsed,
            waiting: under_way.requests,
            ..self.all
        }
    }
}

/// The smallest of the sorted waits that so many percent do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn sample(is_write: bool, wait: u32, outcome: Result<&str, &str>) -> Sample {
        Sample {
            is_write,
            wait: MS * wait,
            outcome: outcome.map(str::to_owned).map_err(str::to_owned),
        }
    }

    #[test]
    fn a_second_counts_what_ended_in_it_and_the_next_begins_empty() {
        let mut tally = Tally::default();
        for wait in 1..=100 {
            tally.count(sample(false, wait, Ok("us")));
        }
        tally.count(sample(true, 700, Err("502")));
        let second = tally.end_second(&UnderWay::default());
        assert_eq!((second.answered, second.lost), (100, 1));
        assert_eq!(second.p50, MS * 50);
        assert_eq!(second.p99, MS * 99);
        assert_eq!(second.worst, MS * 700);
        assert_eq!(second.losses["POST 502"], 1);
        let next = tally.end_second(&UnderWay::default());
        assert_eq!(next, SecondLine::default());
        assert!(tally.end_partial_second(&UnderWay::default()).is_none());
    }

    #[test]
    fn a_request_under_way_counts_as_the_worst_wait_before_it_ends() {
        let under_way = UnderWay {
            requests: 7,
            oldest: Some(MS * 2500),
        };
        let mut tally = Tally::default();
        tally.count(sample(false, 9, Ok("us")));
        let second = tally.end_second(&under_way);
        assert_eq!((second.waiting, second.worst), (7, MS * 2500));
    }

    #[test]
    fn the_summary_tells_lost_reads_from_lost_writes_and_moves_from_stray_answers() {
        let mut tally = Tally::default();
        for majority in ["us", "us", "eu", "us"] {
            for number in 0..5 {
                tally.sent(number == 4);
                tally.count(sample(number == 4, number, Ok(majority)));
            }
            tally.sent(false);
            tally.count(sample(false, 40, Ok("asia")));
            tally.end_second(&UnderWay::default());
        }
        tally.sent(true);
        tally.count(sample(true, 90, Err("504")));
        let summary = tally.summary(MS, &UnderWay::default());
        assert_eq!((summary.get.sent, summary.get.lost), (20, 0));
        assert_eq!((summary.post.sent, summary.post.lost), (5, 1));
        assert_eq!(summary.get.longest, MS * 40);
        assert_eq!(summary.post.longest, MS * 90);
        assert_eq!(summary.moves, ["us", "eu", "us"]);
        assert_eq!(summary.regions["asia"], 4);
    }
}
