//! `[hedge]`: when a second request is sent beside one that is late.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::{Integer, TimeSpan};
use crate::table::traffic_policy::HedgePolicy;

/// When a safe request that has no answer yet is sent to a second region beside the first.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<HedgePolicy>)]
pub(super) struct HedgeSection {
    times_p99: Field<Integer<1, 1_000_000>>,
    min_delay: Field<TimeSpan<1>>,
    max_delay: Field<TimeSpan<1>>,
    unmeasured_delay: Field<TimeSpan<1>>,
}

impl HedgeSection {
    pub(super) fn check(&self, span: Span, context: &CheckContext<'_>) -> HedgePolicy {
        let default = HedgePolicy::default();
        let hedge = HedgePolicy {
            times_p99: self.times_p99.or(default.times_p99),
            min_delay: self.min_delay.or(default.min_delay),
            max_delay: self.max_delay.or(default.max_delay),
            unmeasured_delay: self.unmeasured_delay.or(default.unmeasured_delay),
        };
        if hedge.min_delay > hedge.max_delay {
            let message = format!(
                "`min_delay` ({:?}) is longer than `max_delay` ({:?})",
                hedge.min_delay, hedge.max_delay
            );
            let (min, max) = (self.min_delay.is_written(), self.max_delay.is_written());
            let hint = match (min, max) {
                (true, true) => "swap them",
                (true, false) => "`max_delay` has its default; write a longer one beside it",
                _ => "`min_delay` has its default; write a shorter one beside it",
            };
            let place = self.min_delay.place(self.max_delay.place(span));
            context.error("bad-order", place, message, hint);
        }
        hedge
    }
}
