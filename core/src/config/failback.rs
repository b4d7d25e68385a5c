//! `[failback]`: how traffic returns to a region that was down.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::quantity::TimeSpan;
use crate::table::failback::{FailbackConfig, FailbackMode};

/// How traffic returns to a region that was down and is well again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<FailbackConfig>)]
pub(super) struct FailbackSection {
    mode: Field<FailbackMode>,
    hold_down: Field<TimeSpan<0>>,
    hold_down_at_least: Field<TimeSpan<0>>,
    ramp: Field<TimeSpan<0>>,
}

impl FailbackSection {
    /// What is written here, the rest as in `before`.
    pub(super) fn check(&self, before: FailbackConfig) -> FailbackConfig {
        FailbackConfig {
            mode: self.mode.or(before.mode),
            hold_down: self.hold_down.or(before.hold_down),
            hold_down_at_least: self.hold_down_at_least.or(before.hold_down_at_least),
            ramp: self.ramp.or(before.ramp),
        }
    }
}
