//! How it is printed: for people, or a JSON object a line.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use crate::admin::view::EventView;
use crate::cli::counts::counts;
use crate::cli::demo::watch::tally::{SecondLine, Summary, Totals};
use crate::cli::failure::Failure;
use crate::cli::options::OutputFormat;
use crate::cli::terminal::Terminal;
use crate::cli::time::{at, wait};

/// Where it goes, and in which form.
#[derive(Debug)]
pub(super) struct Report {
    terminal: Terminal,
    format: OutputFormat,
}

impl Report {
    pub(super) fn new(terminal: Terminal, format: OutputFormat) -> Self {
        Self { terminal, format }
    }

    pub(super) fn heading(&self) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.terminal.data(HEADING),
            OutputFormat::Json => Ok(()),
        }
    }

    pub(super) fn second(&self, since: Duration, second: &SecondLine) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.terminal.data(&second_text(since, second)),
            OutputFormat::Json => self.line("second", since, second),
        }
    }

    pub(super) fn event(&self, since: Duration, event: &EventView) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.terminal.data(&event_text(since, event)),
            OutputFormat::Json => self.line("transition", since, event),
        }
    }

    pub(super) fn summary(&self, summary: &Summary) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.terminal.data(&summary_text(summary)),
            OutputFormat::Json => self.line("summary", summary.elapsed, summary),
        }
    }

    fn line(&self, what: &str, since: Duration, value: &impl Serialize) -> Result<(), Failure> {
        let at = since.as_secs_f64();
        let object = json!({ "what": what, "since_start_seconds": at, what: value });
        self.terminal.data(&format!("{object}\n"))
    }
}

const HEADING: &str = "  TIME  ANSWERED  LOST  WAITING       P50       P99     WORST  SERVED BY\n";

fn second_text(since: Duration, second: &SecondLine) -> String {
    let mut text = format!(
        "{:>6}  {:>8}  {:>4}  {:>7}  {:>8}  {:>8}  {:>8}  {}\n",
        at(since),
        second.answered,
        second.lost,
        second.waiting,
        wait(second.p50),
        wait(second.p99),
        wait(second.worst),
        counts(&second.regions),
    );
    for (loss, count) in &second.losses {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        lost: {count} x {loss}");
    }
    text
}

fn event_text(since: Duration, event: &EventView) -> String {
    let mut text = format!("{:>6}  * {} {}", at(since), event.kind, event.region);
    if let Some(address) = event.address {
        let _ = write!(text, " {address}");
    }
    match (&event.from, &event.to) {
        (Some(from), Some(to)) => {
            let _ = write!(text, ": {from} -> {to}");
        }
        (None, Some(to)) => {
            let _ = write!(text, ": {to}");
        }
        (_, None) => {}
    }
    if let Some(cause) = &event.cause {
        let _ = write!(text, " ({cause})");
    }
    text.push('\n');
    text
}

fn summary_text(summary: &Summary) -> String {
    let Summary { get, post, .. } = summary;
    let mut text = format!(
        "\nin {}: {} GET, {} POST sent\n",
        at(summary.elapsed),
        get.sent,
        post.sent
    );
    let row = |totals: &Totals| {
        format!(
            "{} lost, longest wait {}",
            totals.lost,
            wait(totals.longest)
        )
    };
    let _ = writeln!(text, "GET        {}", row(get));
    let _ = writeln!(text, "POST       {}", row(post));
    let _ = writeln!(text, "served by  {}", counts(&summary.regions));
    let _ = writeln!(text, "mostly     {}", summary.moves.join(" -> "));
    if summary.waiting > 0 {
        let _ = writeln!(text, "not over   {} requests", summary.waiting);
    }
    for (loss, count) in &summary.losses {
        let _ = writeln!(text, "lost       {count} x {loss}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn one(kind: &str, count: u64) -> BTreeMap<String, u64> {
        BTreeMap::from([(kind.to_owned(), count)])
    }

    #[test]
    fn a_second_stands_below_its_heading_and_says_what_was_lost() {
        let second = SecondLine {
            answered: 49,
            lost: 1,
            waiting: 3,
            p50: Duration::from_millis(8),
            p99: Duration::from_millis(112),
            worst: Duration::from_millis(12_345),
            regions: one("us-east-1", 49),
            losses: one("POST 502 meridian;error=connection_terminated", 1),
        };
        let text = format!("{HEADING}{}", second_text(Duration::from_secs(7), &second));
        assert_eq!(
            text,
            "  TIME  ANSWERED  LOST  WAITING       P50       P99     WORST  SERVED BY\n \
             7.0 s        49     1        3      8 ms    112 ms    12.3 s  us-east-1 49\n        \
             lost: 1 x POST 502 meridian;error=connection_terminated\n"
        );
    }

    #[test]
    fn a_transition_says_of_what_from_what_to_what_and_why() {
        let event = EventView {
            sequence: 1,
            revision: 2,
            evidence: "probe".to_owned(),
            at_unix_seconds: 0.0,
            kind: "endpoint".to_owned(),
            region: "eu".to_owned(),
            address: Some("127.0.0.1:80".parse().unwrap()),
            from: Some("healthy".to_owned()),
            to: Some("unhealthy".to_owned()),
            cause: Some("refused".to_owned()),
            change: None,
        };
        assert_eq!(
            event_text(Duration::from_millis(2340), &event),
            " 2.3 s  * endpoint eu 127.0.0.1:80: healthy -> unhealthy (refused)\n"
        );
    }
}
