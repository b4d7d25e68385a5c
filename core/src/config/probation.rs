//! `[probation]`: what an endpoint must answer to return.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::quantity::{Integer, TimeSpan};
use crate::table::traffic_policy::ProbationPolicy;

/// The copies of safe requests that an endpoint which live requests ejected must answer well
/// before it returns. No viewer waits for one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<ProbationPolicy>)]
pub(super) struct ProbationSection {
    answers: Field<Integer<1, 1_000_000>>,
    timeout: Field<TimeSpan<1>>,
    interval: Field<TimeSpan<1>>,
    backoff_max: Field<TimeSpan<1>>,
}

impl ProbationSection {
    pub(super) fn check(&self) -> ProbationPolicy {
        let default = ProbationPolicy::default();
        ProbationPolicy {
            answers: self.answers.or(default.answers),
            timeout: self.timeout.or(default.timeout),
            interval: self.interval.or(default.interval),
            backoff_max: self.backoff_max.or(default.backoff_max),
        }
    }
}
