//! `[outlier_detection]`: what of live requests ejects an endpoint or a region.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::quantity::{Integer, TimeSpan};
use crate::table::traffic_policy::OutlierDetection;

/// What of live requests ejects an endpoint, or a region from its routes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<OutlierDetection>)]
pub(super) struct OutlierDetectionSection {
    consecutive_failures: Field<Integer<1, 1_000_000>>,
    consecutive_late: Field<Integer<1, 1_000_000>>,
    consecutive_late_uncompared: Field<Integer<1, 1_000_000>>,
    late_for: Field<TimeSpan<1>>,
    minimum_breadth: Field<Integer<1, 64>>,
    suspect_after: Field<Integer<1, 1_000_000>>,
    failure_percent: Field<Integer<1, 100>>,
    minimum_failures: Field<Integer<1, 1_000_000>>,
    uncompared_failure_percent: Field<Integer<1, 100>>,
    minimum_uncompared_failures: Field<Integer<1, 1_000_000>>,
    put_off_percent: Field<Integer<1, 100>>,
    late_write_at_least: Field<TimeSpan<1>>,
}

impl OutlierDetectionSection {
    pub(super) fn check(&self) -> OutlierDetection {
        let default = OutlierDetection::default();
        OutlierDetection {
            consecutive_failures: self.consecutive_failures.or(default.consecutive_failures),
            consecutive_late: self.consecutive_late.or(default.consecutive_late),
            consecutive_late_uncompared: self
                .consecutive_late_uncompared
                .or(default.consecutive_late_uncompared),
            late_for: self.late_for.or(default.late_for),
            minimum_breadth: self.minimum_breadth.or(default.minimum_breadth),
            suspect_after: self.suspect_after.or(default.suspect_after),
            failure_percent: self.failure_percent.or(default.failure_percent),
            minimum_failures: self.minimum_failures.or(default.minimum_failures),
            uncompared_failure_percent: self
                .uncompared_failure_percent
                .or(default.uncompared_failure_percent),
            minimum_uncompared_failures: self
                .minimum_uncompared_failures
                .or(default.minimum_uncompared_failures),
            put_off_percent: self.put_off_percent.or(default.put_off_percent),
            late_write_at_least: self.late_write_at_least.or(default.late_write_at_least),
        }
    }
}
