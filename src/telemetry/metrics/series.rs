//! Series that many threads write, by name and labels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::metrics::{HistogramFn, Key, KeyName};

use crate::telemetry::histogram::{HistogramTotals, WorkerCell};
use crate::telemetry::metrics::exposition::{Exposition, written};
use crate::telemetry::metrics::families;
use crate::telemetry::metrics::family::MetricType;

/// Series in all. Our labels are closed sets, so this is never reached unless other code puts
/// something open into a label.
const LIMIT: usize = 10_000;

/// A histogram that many threads write.
#[derive(Debug, Default)]
pub(super) struct SharedHistogram(Mutex<HistogramTotals>);

impl SharedHistogram {
    fn totals(&self) -> HistogramTotals {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl HistogramFn for SharedHistogram {
    /// Takes seconds; what is none counts as zero.
    fn record(&self, value: f64) {
        let duration = Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX);
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.record(duration);
    }
}

/// Where the handles of one series write.
#[derive(Debug)]
pub(super) enum SeriesHandle {
    Counter(Arc<AtomicU64>),
    /// The bits of an `f64`.
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<SharedHistogram>),
    /// One cell for each worker; the series is their sum.
    Workers(MetricType, Vec<Arc<WorkerCell>>),
}

impl SeriesHandle {
    fn metric_type(&self) -> MetricType {
        match self {
            Self::Counter(_) => MetricType::Counter,
            Self::Gauge(_) => MetricType::Gauge,
            Self::Histogram(_) => MetricType::Histogram,
            Self::Workers(metric_type, _) => *metric_type,
        }
    }
}

/// All series that were registered, by name and labels as the page shows them.
#[derive(Debug, Default)]
pub(super) struct SharedSeries {
    series: BTreeMap<(String, String), SeriesHandle>,
    /// What other code says of its metrics.
    help: BTreeMap<String, String>,
    refused: u64,
}

impl SharedSeries {
    /// The series of `key`, made by `new` if there is none; nothing where its name is of another
    /// type already, or there is no room.
    pub(super) fn register(
        &mut self,
        key: &Key,
        metric_type: MetricType,
        new: impl FnOnce() -> SeriesHandle,
    ) -> Option<&mut SeriesHandle> {
        let name = shown(key.name(), metric_type);
        let mut same = self.series.range((name.clone(), String::new())..);
        let same = same.next().filter(|((other, _), _)| *other == name);
        let fits = same.is_none_or(|(_, handle)| handle.metric_type() == metric_type)
            && families::named(&name).is_none_or(|family| family.metric_type == metric_type);
        let series = (name, labels(key));
        if !fits || (self.series.len() >= LIMIT && !self.series.contains_key(&series)) {
            self.refused += 1;
            return None;
        }
        Some(self.series.entry(series).or_insert_with(new))
    }

    pub(super) fn describe(&mut self, name: &KeyName, metric_type: MetricType, help: &str) {
        let name = shown(name.as_str(), metric_type);
        if self.help.len() < LIMIT && families::named(&name).is_none() {
            self.help.insert(name, one_line(help));
        }
    }

    /// Adds all of it to a page.
    pub(super) fn collect(&self, page: &mut Exposition) {
        for ((name, labels), handle) in &self.series {
            let family = page.family(name, handle.metric_type(), self.help.get(name));
            match handle {
                SeriesHandle::Counter(count) => {
                    family.add(labels, count.load(Ordering::Relaxed) as f64);
                }
                SeriesHandle::Gauge(bits) => {
                    family.set(labels, f64::from_bits(bits.load(Ordering::Relaxed)));
                }
                SeriesHandle::Histogram(durations) => family.merge(labels, &durations.totals()),
                SeriesHandle::Workers(_, cells) => {
                    let total: u64 = cells.iter().map(|cell| cell.value()).sum();
                    family.add(labels, total as f64);
                }
            }
        }
        page.add(&families::SERIES_REFUSED, &[], self.refused);
    }
}

/// The name that the page shows: ours as it is, that of others as Prometheus allows it.
fn shown(name: &str, metric_type: MetricType) -> String {
    let mut shown = allowed(name);
    if metric_type == MetricType::Counter && !shown.ends_with("_total") {
        shown.push_str("_total");
    }
    shown
}

/// Names may have ASCII letters, digits that do not come first, and these two.
fn allowed(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let mut text = name.replace(|c| !allowed(c), "_");
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    text
}

/// The labels of a series as the page shows them: in the order of our family, by name where it is
/// none of ours, so that the same labels are the same series.
fn labels(key: &Key) -> String {
    let mut labels: Vec<_> = key
        .labels()
        .map(|label| (allowed(label.key()), label.value()))
        .collect();
    let known = families::named(key.name()).map_or(&[][..], |family| family.labels);
    labels.sort_by_cached_key(|(name, _)| {
        let place = known.iter().position(|one| one == name);
        (place.unwrap_or(known.len()), name.clone())
    });
    written(labels.iter().map(|(name, value)| (name.as_str(), *value)))
}

/// A line break in a help text would end its line.
fn one_line(help: &str) -> String {
    help.replace('\\', "\\\\").replace('\n', "\\n")
}
