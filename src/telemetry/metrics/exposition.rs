//! Prometheus' text format 0.0.4, and OpenMetrics 1.0 for those who ask for it.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::telemetry::histogram::HistogramTotals;
use crate::telemetry::metrics::families::{self, FAMILIES};
use crate::telemetry::metrics::family::{MetricFamily, MetricType, unit};

/// Which text a scraper wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// Prometheus' text format 0.0.4.
    #[default]
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl ExpositionFormat {
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
enum SeriesValue {
    /// Of a counter or a gauge. Values that are not finite are left out of the page.
    Number(f64),
    /// Of a histogram.
    Durations(Box<HistogramTotals>),
}

/// One family of one page.
#[derive(Debug)]
pub(super) struct ExposedFamily {
    metric_type: MetricType,
    help: String,
    /// By their labels, as they are written.
    series: BTreeMap<String, SeriesValue>,
}

impl ExposedFamily {
    /// Adds to what the series has so far.
    pub(super) fn add(&mut self, labels: &str, amount: f64) {
        match self.series.get_mut(labels) {
            Some(SeriesValue::Number(total)) => *total += amount,
            _ => self.set(labels, amount),
        }
    }

    /// Puts a value in place of what the series has so far.
    pub(super) fn set(&mut self, labels: &str, value: f64) {
        let value = SeriesValue::Number(value);
        self.series.insert(labels.to_owned(), value);
    }

    /// Adds durations, if there are any: a histogram is two dozen lines.
    pub(super) fn merge(&mut self, labels: &str, durations: &HistogramTotals) {
        if durations.count() == 0 {
            return;
        }
        let fresh = || SeriesValue::Durations(Box::default());
        if let SeriesValue::Durations(totals) =
            self.series.entry(labels.to_owned()).or_insert_with(fresh)
        {
            totals.merge(durations);
        }
    }

    fn render(&self, text: &mut String, name: &str, format: ExpositionFormat) {
        if self.series.is_empty() {
            return;
        }
        let is_open = format == ExpositionFormat::OpenMetrics;
        let shown = if is_open && self.metric_type == MetricType::Counter {
            name.strip_suffix("_total").unwrap_or(name)
        } else {
            name
        };
        text.push_str(&format!("# HELP {shown} {}\n", self.help));
        text.push_str(&format!("# TYPE {shown} {}\n", self.metric_type.label()));
        if is_open && let Some(unit) = unit(name) {
            text.push_str(&format!("# UNIT {shown} {unit}\n"));
        }
        for (labels, value) in &self.series {
            match value {
                SeriesValue::Number(number) if number.is_finite() => {
                    line(text, name, labels, *number);
                }
                SeriesValue::Number(_) => {}
                SeriesValue::Durations(totals) => durations(text, name, labels, totals),
            }
        }
    }
}

/// All series of one page.
#[derive(Debug, Default)]
pub struct Exposition {
    families: BTreeMap<String, ExposedFamily>,
}

impl Exposition {
    /// The family of this name: what it is, and what is said of it if it is none of ours.
    pub(super) fn family(
        &mut self,
        name: &str,
        metric_type: MetricType,
        help: Option<&String>,
    ) -> &mut ExposedFamily {
        let fresh = || {
            let ours = families::named(name);
            ExposedFamily {
                metric_type: ours.map_or(metric_type, |family| family.metric_type),
                help: ours.map_or_else(
                    || help.cloned().unwrap_or_default(),
                    |family| family.help().to_owned(),
                ),
                series: BTreeMap::new(),
            }
        };
        self.families.entry(name.to_owned()).or_insert_with(fresh)
    }

    fn ours(&mut self, family: &MetricFamily, values: &[&str]) -> (&mut ExposedFamily, String) {
        debug_assert_eq!(values.len(), family.labels.len(), "{}", family.name);
        let labels = family.labels.iter().copied().zip(values.iter().copied());
        let exposed = self.family(family.name, family.metric_type, None);
        (exposed, written(labels))
    }

    /// Sets a gauge to what is known at this moment. `labels` are values in the order of the
    /// family's names.
    pub fn gauge(&mut self, family: &MetricFamily, labels: &[&str], value: f64) {
        let (exposed, labels) = self.ours(family, labels);
        exposed.set(&labels, value);
    }

    /// Adds to a counter, or to a gauge that several workers make up.
    pub fn add(&mut self, family: &MetricFamily, labels: &[&str], amount: u64) {
        let (exposed, labels) = self.ours(family, labels);
        exposed.add(&labels, amount as f64);
    }

    /// Adds durations to a histogram.
    pub(super) fn durations(
        &mut self,
        family: &MetricFamily,
        labels: &[&str],
        durations: &HistogramTotals,
    ) {
        let (exposed, labels) = self.ours(family, labels);
        exposed.merge(&labels, durations);
    }

    /// The page as text: our families in their order, then those of others. Families without a
    /// series are left out.
    #[must_use]
    pub fn render(&self, format: ExpositionFormat) -> String {
        let mut text = String::with_capacity(16 << 10);
        for family in FAMILIES {
            if let Some(exposed) = self.families.get(family.name) {
                exposed.render(&mut text, family.name, format);
            }
        }
        let others = self.families.iter();
        for (name, exposed) in others.filter(|(name, _)| families::named(name).is_none()) {
            exposed.render(&mut text, name, format);
        }
        if format == ExpositionFormat::OpenMetrics {
            text.push_str("# EOF\n");
        }
        text
    }
}

/// The lines of one histogram.
fn durations(text: &mut String, name: &str, labels: &str, totals: &HistogramTotals) {
    let bucket = format!("{name}_bucket");
    let below = |le: &str| match labels.strip_suffix('}') {
        Some(labels) => format!("{labels},le=\"{le}\"}}"),
        None => format!("{{le=\"{le}\"}}"),
    };
    for (bound, count) in totals.cumulative() {
        let le = (bound as f64 / 1e6).to_string();
        line(text, &bucket, &below(&le), count as f64);
    }
    let count = totals.count() as f64;
    line(text, &bucket, &below("+Inf"), count);
    line(text, &format!("{name}_sum"), labels, totals.sum_seconds());
    line(text, &format!("{name}_count"), labels, count);
}

/// `{name="value",..}`, or nothing where there is no label.
pub(super) fn written<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
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
