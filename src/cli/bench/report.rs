//! What came of it, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::bench::latencies::LatencySummary;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::tally::{LoadTally, Share};
use crate::cli::counts::counts;
use crate::cli::table::columns;

/// From here on, and from a tenth of the usual latency, our own lateness is worth a word.
const LATE: Duration = Duration::from_millis(1);

/// The whole run.
#[derive(Debug)]
pub(super) struct LoadReport<'a> {
    pub(super) plan: &'a Plan,
    pub(super) tally: &'a LoadTally,
    /// From when the first request was due until the last ended.
    pub(super) elapsed: Duration,
    pub(super) opened: u64,
}

impl LoadReport<'_> {
    /// For people.
    pub(super) fn text(&self) -> String {
        let LoadTally { all, .. } = self.tally;
        let answered_per_second = self.per_second(all.answered);
        let mut rows = vec![
            ["due".to_owned(), all.due.to_string()].to_vec(),
            ["sent".to_owned(), self.sent_text()].to_vec(),
            vec![
                "answered".to_owned(),
                format!(
                    "{} in {:.1} s, {answered_per_second:.1}/s, {}, {}/s",
                    all.answered,
                    self.elapsed.as_secs_f64(),
                    size(self.tally.bytes as f64),
                    size(self.per_second(self.tally.bytes)),
                ),
            ],
        ];
        for (class, count) in self.classes() {
            let within = self
                .statuses()
                .filter(|(status, _)| status.starts_with(&class[..1]));
            let within: BTreeMap<String, u64> = within.collect();
            rows.push(vec![
                format!("  {class}"),
                format!("{count} ({})", of_statuses(&within)),
            ]);
        }
        rows.push(vec!["errors".to_owned(), self.tally.faulty().to_string()]);
        for (kind, fault) in &self.tally.faults {
            let text = format!("{}: {}", fault.count, fault.first);
            rows.push(vec![format!("  {}", kind.label()), text]);
        }
        if self.tally.unfinished() > 0 {
            let text = format!("{} when it was stopped", self.tally.unfinished());
            rows.push(vec!["unfinished".to_owned(), text]);
        }
        let reopened = self.opened.saturating_sub(u64::from(self.plan.connections));
        let opened = format!("{}, {reopened} of them to replace others", self.opened);
        rows.push(vec!["connections".to_owned(), opened]);
        rows.push(vec!["served by".to_owned(), counts(&all.regions)]);
        let mut text = format!("{}\n\n{}", self.plan.summary(), columns(&rows));
        let _ = write!(text, "\n{}", self.latency_text());
        if self.plan.country_mix.is_some() {
            let _ = write!(text, "\n{}", self.countries_text());
        }
        text
    }

    /// What a reader should know who judges the numbers.
    pub(super) fn notes(&self) -> Vec<String> {
        let (due, queued) = (self.tally.all.due, self.tally.queued);
        let share = 100.0 * queued as f64 / due.max(1) as f64;
        let lateness = self.tally.lateness.summary().p99;
        let usual = self.tally.all.latency.summary().p50;
        let mut notes = Vec::new();
        if share >= 1.0 {
            notes.push(format!(
                "{share:.1} % of the requests found no connection free when they were due, and \
                 their latency has the wait in it: the server was behind, or needs more than {} \
                 requests at a time (--connections)",
                self.plan.places()
            ));
        }
        if lateness >= LATE.max(usual / 10) {
            notes.push(format!(
                "this machine sent 1 % of the requests {} late or more, which their latency has in \
                 it: give it less to do beside, a lower --rate, or more --threads",
                brief(lateness)
            ));
        }
        notes
    }

    fn sent_text(&self) -> String {
        let mut text = self.tally.sent.to_string();
        if self.tally.never_sent() > 0 {
            let _ = write!(
                text,
                ", {} never: {} found the queue full, {} found no connection in time",
                self.tally.never_sent(),
                self.tally.queue_full,
                self.tally.too_late
            );
        }
        text
    }

    fn latency_text(&self) -> String {
        let heading = ["", "MEAN", "P50", "P90", "P99", "P99.9", "MAX"];
        let row = |name: &str, times: &LatencySummary| {
            let times = [
                times.mean,
                times.p50,
                times.p90,
                times.p99,
                times.p99_9,
                times.max,
            ];
            let mut row = vec![name.to_owned()];
            row.extend(times.map(brief));
            row
        };
        columns(&[
            heading.map(str::to_owned).to_vec(),
            row("latency, since due", &self.tally.all.latency.summary()),
            row("service, since sent", &self.tally.service.summary()),
        ])
    }

    fn countries_text(&self) -> String {
        let heading = [
            "COUNTRY",
            "DUE",
            "ANSWERED",
            "FAILED",
            "P50",
            "P99",
            "MAX",
            "SERVED BY",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for (code, share) in self.countries() {
            let latency = share.latency.summary();
            rows.push(vec![
                code,
                share.due.to_string(),
                share.answered.to_string(),
                share.failed.to_string(),
                brief(latency.p50),
                brief(latency.p99),
                brief(latency.max),
                counts(&share.regions),
            ]);
        }
        columns(&rows)
    }

    /// For programs; `docs/bench.md` says what each field means.
    pub(super) fn json(&self) -> Value {
        let Self { plan, tally, .. } = self;
        let errors = tally.faults.iter().map(|(kind, fault)| {
            let value = json!({ "count": fault.count, "first": fault.first });
            (kind.label().to_owned(), value)
        });
        let countries = self.countries().map(|(code, share)| {
            let value = json!({
                "due": share.due,
                "answered": share.answered,
                "failed": share.failed,
                "latency": share.latency.summary(),
                "served_by": share.regions,
            });
            (code, value)
        });
        json!({
            "url": plan.destination.to_string(),
            "protocol": plan.protocol(),
            "method": plan.method.as_str(),
            "rate_per_second": plan.rate,
            "length_seconds": plan.length.as_secs_f64(),
            "elapsed_seconds": self.elapsed.as_secs_f64(),
            "connections": plan.connections,
            "streams": plan.streams,
            "threads": plan.threads(),
            "timeout_seconds": plan.timeout.as_secs_f64(),
            "queue": plan.queue,
            "seed": plan.seed,
            "due": tally.all.due,
            "sent": tally.sent,
            "queued": tally.queued,
            "unsent": {
                "total": tally.never_sent(),
                "queue_full": tally.queue_full,
                "too_late": tally.too_late,
            },
            "unfinished": tally.unfinished(),
            "answered": tally.all.answered,
            "answered_per_second": self.per_second(tally.all.answered),
            "classes": self.classes(),
            "statuses": self.statuses().collect::<BTreeMap<_, _>>(),
            "errors": { "total": tally.faulty(), "kinds": errors.collect::<Map<_, _>>() },
            "body_bytes": tally.bytes,
            "body_bytes_per_second": self.per_second(tally.bytes),
            "connections_opened": self.opened,
            "latency": tally.all.latency.summary(),
            "service_time": tally.service.summary(),
            "lateness": tally.lateness.summary(),
            "served_by": tally.all.regions,
            "countries": countries.collect::<Map<_, _>>(),
        })
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn statuses(&self) -> impl Iterator<Item = (String, u64)> {
        let statuses = self.tally.statuses.iter();
        statuses.map(|(status, count)| (status.to_string(), *count))
    }

    /// Answers by the first digit of their status.
    fn classes(&self) -> BTreeMap<String, u64> {
        let mut classes = BTreeMap::new();
        for (status, count) in &self.tally.statuses {
            *classes.entry(format!("{}xx", status / 100)).or_default() += count;
        }
        classes
    }

    fn countries(&self) -> impl Iterator<Item = (String, &Share)> {
        let mix = self.plan.country_mix.iter();
        let countries = mix.flat_map(|mix| mix.countries());
        let countries = countries.zip(&self.tally.countries);
        countries.map(|(country, share)| (country.to_string(), share))
    }
}

fn of_statuses(counts: &BTreeMap<String, u64>) -> String {
    let each = counts
        .iter()
        .map(|(status, count)| format!("{status}: {count}"));
    each.collect::<Vec<_>>().join(", ")
}

/// A time in three digits, `-` for none.
pub(super) fn brief(time: Duration) -> String {
    let millis = time.as_secs_f64() * 1e3;
    match time.as_micros() {
        0 => "-".to_owned(),
        1..10_000 => format!("{millis:.2} ms"),
        10_000..100_000 => format!("{millis:.1} ms"),
        100_000..1_000_000 => format!("{millis:.0} ms"),
        1_000_000..10_000_000 => format!("{:.2} s", time.as_secs_f64()),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

fn size(bytes: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut left = bytes;
    let mut unit = 0;
    while left >= 1000.0 && unit + 1 < units.len() {
        left /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{left:.0} B"),
        _ => format!("{left:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_the_unit_that_fits() {
        let times = [0, 43, 9_990, 12_340, 123_400, 1_234_000, 12_340_000];
        let shown = times.map(|micros| brief(Duration::from_micros(micros)));
        assert_eq!(
            shown,
            [
                "-", "0.04 ms", "9.99 ms", "12.3 ms", "123 ms", "1.23 s", "12.3 s"
            ]
        );
        assert_eq!(size(999.0), "999 B");
        assert_eq!(size(12_345_678.0), "12.3 MB");
    }
}
