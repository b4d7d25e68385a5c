//! What is known of a metric before it has a value.

/// How a family's values move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// Only up, from zero.
    Counter,
    /// Either way.
    Gauge,
    /// Durations in buckets.
    Histogram,
}

impl MetricType {
    /// The word in the `# TYPE` line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric: its name, what it means and which labels its series carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricFamily {
    /// The whole name, with prefix and unit.
    pub name: &'static str,
    /// How its values move.
    pub metric_type: MetricType,
    /// Label names, in the order their values are given.
    pub labels: &'static [&'static str],
    pub(super) help: &'static str,
}

impl MetricFamily {
    /// One sentence.
    #[must_use]
    pub fn help(&self) -> &'static str {
        // The lines of a documentation comment begin with a blank.
        self.help.trim_start()
    }

    /// The unit that the name ends with.
    #[must_use]
    pub fn unit(&self) -> Option<&'static str> {
        unit(self.name)
    }
}

/// The unit that a name ends with, if any.
pub(super) fn unit(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix("_total").unwrap_or(name);
    let (_, last) = name.rsplit_once('_')?;
    ["seconds", "bytes", "ratio"]
        .into_iter()
        .find(|unit| *unit == last)
}
