//! `[state]`: what survives a restart.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::FilePath;

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StateConfig {
    /// A directory to keep it in, made where it is missing. Absent: memory only.
    pub dir: Option<PathBuf>,
    /// Where that was written.
    #[serde(skip)]
    pub written: Option<Span>,
}

/// What survives a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<StateConfig>)]
pub(super) struct StateSection {
    dir: Field<FilePath>,
}

impl StateSection {
    pub(super) fn check(&self, context: &CheckContext<'_>) -> StateConfig {
        let Some((dir, span)) = self.dir.written() else {
            return StateConfig::default();
        };
        if dir.0.is_empty() {
            let help = "leave the key out to keep state in memory only";
            context.error("bad-value", span, "this names no directory", help);
        }
        StateConfig {
            // Written, not only read: so it is no named file to watch.
            dir: context.written_path(&self.dir),
            written: Some(span),
        }
    }
}
