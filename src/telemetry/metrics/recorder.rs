//! Our recorder of the `metrics` facade: anyone in the process may count through it.

use std::sync::Arc;

use ::metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString, Unit,
};

use crate::telemetry::histogram::WorkerCell;
use crate::telemetry::metrics::family::{MetricFamily, MetricType};
use crate::telemetry::metrics::registry::MetricsRegistry;
use crate::telemetry::metrics::series::SeriesHandle;

/// What the facade wants to know of whoever registers; nothing here depends on it.
const METADATA: Metadata<'static> = Metadata::new("meridian", Level::INFO, None);

impl MetricsRegistry {
    /// A counter of one series. `labels` are values in the order of the family's names, each from a
    /// closed set.
    pub fn counter(&self, family: &MetricFamily, labels: &[&str]) -> Counter {
        self.register_counter(&key(family, labels), &METADATA)
    }

    /// A gauge of one series; not a number until it is known.
    pub fn gauge(&self, family: &MetricFamily, labels: &[&str]) -> Gauge {
        let gauge = self.register_gauge(&key(family, labels), &METADATA);
        gauge.set(f64::NAN);
        gauge
    }

    /// A histogram of one series, in seconds.
    pub fn histogram(&self, family: &MetricFamily, labels: &[&str]) -> Histogram {
        self.register_histogram(&key(family, labels), &METADATA)
    }

    /// A new cell of one series, for one writer. The series is the sum of its cells.
    #[must_use]
    pub fn worker_cell(&self, family: &MetricFamily, labels: &[&str]) -> Arc<WorkerCell> {
        let cell = Arc::<WorkerCell>::default();
        let mut series = self.series();
        let new = || SeriesHandle::Workers(family.metric_type, Vec::new());
        if let Some(SeriesHandle::Workers(_, cells)) =
            series.register(&key(family, labels), family.metric_type, new)
        {
            cells.push(Arc::clone(&cell));
        }
        cell
    }
}

impl Recorder for MetricsRegistry {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.series().describe(&name, MetricType::Counter, &help);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.series().describe(&name, MetricType::Gauge, &help);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
        self.series().describe(&name, MetricType::Histogram, &help);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let new = || SeriesHandle::Counter(Arc::default());
        match self.series().register(key, MetricType::Counter, new) {
            Some(SeriesHandle::Counter(count)) => Counter::from_arc(Arc::clone(count)),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let new = || SeriesHandle::Gauge(Arc::default());
        match self.series().register(key, MetricType::Gauge, new) {
            Some(SeriesHandle::Gauge(bits)) => Gauge::from_arc(Arc::clone(bits)),
            _ => Gauge::noop(),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let new = || SeriesHandle::Histogram(Arc::default());
        match self.series().register(key, MetricType::Histogram, new) {
            Some(SeriesHandle::Histogram(durations)) => Histogram::from_arc(Arc::clone(durations)),
            _ => Histogram::noop(),
        }
    }
}

fn key(family: &MetricFamily, values: &[&str]) -> Key {
    debug_assert_eq!(values.len(), family.labels.len(), "{}", family.name);
    let labels = family.labels.iter().zip(values);
    let labels = labels.map(|(name, value)| Label::new(*name, (*value).to_owned()));
    Key::from_parts(family.name, labels.collect::<Vec<_>>())
}
