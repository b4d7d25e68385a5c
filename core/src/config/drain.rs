//! `[drain]`: how to leave without dropping a request.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::with_defaults;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::Lasting;

/// Orchestrators kill after 30 s: two seconds are left for the process to end.
const KILLED_SOON: Duration = Duration::from_secs(28);

/// How to leave without dropping a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DrainConfig {
    /// From `/readyz` answering 503 to the listeners closing.
    pub delay: Duration,
    /// From there to the process's end at the latest.
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
#[schemars(deny_unknown_fields, transform = with_defaults::<DrainConfig>)]
pub(super) struct DrainSection {
    /// From `/readyz` answering 503 to the listeners closing.
    delay: Field<Lasting<0>>,
    /// From there to the end of the process at the latest.
    timeout: Field<Lasting<0>>,
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
