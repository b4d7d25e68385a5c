//! Metrics: what is counted, by whom, and the page that shows it.
//!
//! The control plane counts through handles of the `metrics` facade, which a [`MetricsRegistry`]
//! gives out: it is a recorder of that facade, and serves what any code of the process counts when
//! it is installed as the global one. What workers count costs less: cells with one writer each
//! ([`worker::RequestMetrics`]), a plain load and store where a handle of the facade costs a virtual
//! call and a locked instruction. A scrape adds all of it up.

mod code_class;
pub(crate) mod exposition;
pub mod families;
mod family;
mod labels;
mod recorder;
pub(crate) mod registry;
mod resume_result;
mod series;
pub(crate) mod worker;
mod worker_cells;

pub use crate::telemetry::metrics::code_class::CodeClass;
pub use crate::telemetry::metrics::exposition::{Exposition, ExpositionFormat};
pub use crate::telemetry::metrics::family::{MetricFamily, MetricType};
pub use crate::telemetry::metrics::registry::MetricsRegistry;
pub use crate::telemetry::metrics::resume_result::ResumeResult;
pub use crate::telemetry::metrics::worker::{RequestMetrics, WorkerMetrics};
