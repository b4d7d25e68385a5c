//! A line a second while it runs.

use std::time::Duration;

use crate::cli::bench::dispatch_queue::Pending;
use crate::cli::bench::report::brief;
use crate::cli::bench::tally::LoadTally;
use crate::cli::counts::counts;
use crate::cli::terminal::Terminal;
use crate::cli::time::at;

const HEADING: &str =
    "  TIME      DUE  ANSWERED  FAILED  WAITING      P50      P99      MAX  SERVED BY";

/// What the workers told of the second that passes.
#[derive(Debug, Default)]
pub(super) struct LiveLine {
    second: LoadTally,
    pending: Pending,
}

impl LiveLine {
    /// Says what stands in the columns.
    pub(super) fn heading(terminal: &Terminal) {
        terminal.say(HEADING);
    }

    /// A worker told of its last second.
    pub(super) fn include(&mut self, tally: &LoadTally, pending: Pending) {
        self.second.include(tally);
        self.pending.requests += pending.requests;
        self.pending.oldest = self.pending.oldest.max(pending.oldest);
    }

    /// Says the line of the second that is over; another begins.
    pub(super) fn end_second(&mut self, terminal: &Terminal, since: Duration) {
        let Self { second, pending } = std::mem::take(self);
        let line = line(since, &second, pending);
        match terminal.talks_to_a_person() {
            true => terminal.redraw(&line),
            false => terminal.say(&line),
        }
    }

    /// Says the line of the second that is not over, if anything was due or ended in it, and
    /// leaves it as it is.
    pub(super) fn end(&mut self, terminal: &Terminal, since: Duration) {
        let all = &self.second.all;
        if all.due + all.answered + all.failed > 0 {
            self.end_second(terminal, since);
        }
        terminal.redraw("");
    }
}

fn line(since: Duration, second: &LoadTally, pending: Pending) -> String {
    let all = &second.all;
    let latency = all.latency.summary();
    // One that still waits counts too, or a server that stands still would look fine.
    let max = latency.max.max(pending.oldest.unwrap_or_default());
    format!(
        "{:>6}  {:>7}  {:>8}  {:>6}  {:>7}  {:>7}  {:>7}  {:>7}  {}",
        at(since),
        all.due,
        all.answered,
        all.failed,
        pending.requests,
        brief(latency.p50),
        brief(latency.p99),
        brief(max),
        counts(&all.regions)
    )
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::cli::bench::tally::{EndedRequest, LoadAnswer};

    #[test]
    fn a_second_stands_below_its_heading_and_counts_who_still_waits() {
        let mut tally = LoadTally::default();
        for _ in 0..3 {
            tally.due(None, Duration::ZERO);
        }
        tally.ended(&EndedRequest {
            latency: Duration::from_micros(8_000),
            service: Duration::from_micros(7_000),
            country: None,
            outcome: Ok(LoadAnswer {
                status: StatusCode::OK,
                bytes: 0,
                region: Some("eu".to_owned()),
            }),
        });
        let pending = Pending {
            requests: 2,
            oldest: Some(Duration::from_millis(1234)),
        };
        let line = line(Duration::from_secs(2), &tally, pending);
        assert_eq!(
            format!("{HEADING}\n{line}"),
            "  TIME      DUE  ANSWERED  FAILED  WAITING      P50      P99      MAX  SERVED BY\n \
             2.0 s        3         1       0        2  8.00 ms  8.00 ms   1.23 s  eu 1"
        );
    }
}
