//! Reads a page of metrics.

use meridian::telemetry::metrics::{Exposition, ExpositionFormat, MetricsRegistry};

/// What `registry` shows by itself.
pub(crate) fn page(registry: &MetricsRegistry) -> String {
    let mut page = Exposition::default();
    registry.collect(&mut page);
    page.render(ExpositionFormat::default())
}

/// The value of the one line that begins with `series` and a space.
pub(crate) fn value(page: &str, series: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.map(|value| value.parse().unwrap())
}
