//! Prometheus' text format 0.0.4, and OpenMetrics 1.0 for those who ask for it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::telemetry::histogram::HistogramTotals;
use crate::telemetry::metrics::{FAMILIES, Family, Kind};

/// Which text a scraper wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The format an `Accept` field asks for.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The `Content-Type` of the page.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One value of one series.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter or a gauge. Values that are not finite are left out of the page.
    Number(f64),
    /// Of a histogram.
    Durations(Box<HistogramTotals>),
}

/// All series of one page: by family, then by label values.
#[derive(Debug, Default)]
pub struct Page {
    series: BTreeMap<&'static str, BTreeMap<Vec<String>, Value>>,
}

impl Page {
    /// Adds a series; a second one with the same labels is added up (counters) or replaces the
    /// first (gauges). `labels` are values in the order of the family's names.
    pub fn add(&mut self, family: &Family, labels: Vec<String>, value: Value) {
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        let series = self.series.entry(family.name).or_default();
        match (family.kind, series.get_mut(&labels), value) {
            (Kind::Counter, Some(Value::Number(total)), Value::Number(more)) => *total += more,
            (_, _, value) => {
                series.insert(labels, value);
            }
        }
    }

    /// Adds a counter or gauge.
    pub fn number(&mut self, family: &Family, labels: &[&str], value: f64) {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        self.add(family, labels, Value::Number(value));
    }

    /// The page as text. Families without a series are left out.
    #[must_use]
    pub fn render(&self, format: Format) -> String {
        let mut text = String::with_capacity(16 << 10);
        for family in FAMILIES {
            let Some(series) = self.series.get(family.name) else {
                continue;
            };
            let name = match (format, family.kind) {
                (Format::OpenMetrics, Kind::Counter) => {
                    family.name.strip_suffix("_total").unwrap_or(family.name)
                }
                _ => family.name,
            };
            text.push_str(&format!("# HELP {name} {}\n", family.help));
            text.push_str(&format!("# TYPE {name} {}\n", family.kind.label()));
            for (labels, value) in series {
                match value {
                    Value::Number(number) if number.is_finite() => {
                        line(
                            &mut text,
                            family.name,
                            &pairs(family, labels, None),
                            *number,
                        );
                    }
                    Value::Number(_) => {}
                    Value::Durations(totals) => durations(&mut text, family, labels, totals),
                }
            }
        }
        if format == Format::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// The lines of one histogram.
fn durations(text: &mut String, family: &Family, labels: &[String], totals: &HistogramTotals) {
    let bucket = format!("{}_bucket", family.name);
    for (bound, below) in totals.cumulative() {
        let le = (bound as f64 / 1e6).to_string();
        line(
            text,
            &bucket,
            &pairs(family, labels, Some(&le)),
            below as f64,
        );
    }
    let count = totals.count() as f64;
    line(text, &bucket, &pairs(family, labels, Some("+Inf")), count);
    let plain = pairs(family, labels, None);
    line(
        text,
        &format!("{}_sum", family.name),
        &plain,
        totals.sum_seconds(),
    );
    line(text, &format!("{}_count", family.name), &plain, count);
}

/// `{name="value",..}`, or nothing where there is no label.
fn pairs(family: &Family, labels: &[String], le: Option<&str>) -> String {
    let le = le.map(|le| ("le", le));
    let named = family
        .labels
        .iter()
        .copied()
        .zip(labels.iter().map(String::as_str));
    let mut text = String::new();
    for (name, value) in named.chain(le) {
        text.push(if text.is_empty() { '{' } else { ',' });
        text.push_str(name);
        text.push_str("=\"");
        escape(&mut text, value);
        text.push('"');
    }
    if !text.is_empty() {
        text.push('}');
    }
    text
}

/// A label value may hold anything, but these three break the line.
fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

fn line(text: &mut String, name: &str, labels: &str, value: f64) {
    writeln!(text, "{name}{labels} {value}").expect("writing to a String cannot fail");
}
