//! `[failback]`: how traffic returns to a region that was down.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::with_defaults;
use crate::config::field::Field;
use crate::config::quantity::Lasting;
use crate::table::failback::{FailbackConfig, FailbackMode};

/// How traffic returns to a region that was down and is well again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = with_defaults::<FailbackConfig>)]
pub(super) struct FailbackSection {
    /// `"auto"`: by itself, after the hold-down. `"confirm"`: after the hold-down it waits for `meridian
    /// confirm REGION`. `"manual"`: it waits for that, without a hold-down. The command leaves out
    /// what is left of a hold-down, and the ramp follows.
    mode: Field<FailbackMode>,
    /// How long a region that was down must stay well before it gets viewers again. Doubled, up
    /// to 16 times as long, each time it falls again after that; ten calm minutes take a doubling
    /// back.
    hold_down: Field<Lasting<0>>,
    /// How long its share of the viewers then takes to grow: 5, 10, 25 and 50 % for a quarter of
    /// this each, then all. Stands still while the region does worse than others. `"0s"`: all at
    /// once.
    ramp: Field<Lasting<0>>,
}

impl FailbackSection {
    /// What is written here, the rest as in `before`.
    pub(super) fn check(&self, before: FailbackConfig) -> FailbackConfig {
        FailbackConfig {
            mode: self.mode.or(before.mode),
            hold_down: self.hold_down.or(before.hold_down),
            ramp: self.ramp.or(before.ramp),
        }
    }
}
