//! `[access_log]`: one JSON line per request.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::quantity::{Boolean, FilePath, Fraction};

/// One JSON line per request.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct AccessLogConfig {
    /// Whether to write it at all.
    pub enabled: bool,
    /// Share of successful requests to write; failovers and errors are always written.
    pub sample: f64,
    /// A file to append to. Absent: standard output.
    pub path: Option<PathBuf>,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sample: 1.0,
            path: None,
        }
    }
}

/// One JSON line per request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<AccessLogConfig>)]
pub(super) struct AccessLogSection {
    enabled: Field<Boolean>,
    sample: Field<Fraction>,
    path: Field<FilePath>,
}

impl AccessLogSection {
    pub(super) fn check(&self, context: &CheckContext<'_>) -> AccessLogConfig {
        let default = AccessLogConfig::default();
        AccessLogConfig {
            enabled: self.enabled.or(default.enabled),
            sample: self.sample.or(default.sample),
            // Written, not read: so it is no named file to watch.
            path: context.written_path(&self.path),
        }
    }
}
