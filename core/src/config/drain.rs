//! `[drain]`: how to leave without dropping a request.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::TimeSpan;

/// Orchestrators kill after 30 s: two seconds are left for the process to end.
const KILLED_SOON: Duration = Duration::from_secs(28);

/// How to leave without dropping a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DrainConfig {
    /// From `/readyz` answering 503 to the listeners closing.
    pub delay: Duration,
    /// From there to the end of the process at the latest.
    pub timeout: Duration,
}

impl Default for DrainConfig {
    /// Together below the 30 s that ECS and Kubernetes wait before they kill.
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
        }
    }
}

/// How to leave without dropping a request. Together below 30 s, after which ECS and Kubernetes
/// kill.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<DrainConfig>)]
pub(super) struct DrainSection {
    delay: Field<TimeSpan<0>>,
    timeout: Field<TimeSpan<0>>,
}

impl DrainSection {
    pub(super) fn check(&self, span: Span, context: &CheckContext<'_>) -> DrainConfig {
        let default = DrainConfig::default();
        let drain = DrainConfig {
            delay: self.delay.or(default.delay),
            timeout: self.timeout.or(default.timeout),
        };
        if drain.delay + drain.timeout > KILLED_SOON {
            context.warn(
                "drain-too-long",
                span,
                "`delay` and `timeout` together are longer than 28 s",
                "ECS and Kubernetes kill after 30 s unless told otherwise; requests would be cut off",
            );
        }
        drain
    }
}
