//! `[route.retry]`: how far to go for an answer.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::with_defaults;
use crate::config::field::Field;
use crate::config::quantity::{Switch, Whole};
use crate::table::policy::RetryPolicy;

/// How far to go for an answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = with_defaults::<RetryPolicy>)]
pub(super) struct RetrySection {
    /// Attempts at most, the first included.
    attempts: Field<Whole<1, 8>>,
    /// Whether a request with an `Idempotency-Key` may be sent again like a PUT.
    idempotency_key: Field<Switch>,
    /// Whether gRPC requests may be sent again on UNAVAILABLE or a missing first byte.
    grpc: Field<Switch>,
}

impl RetrySection {
    pub(super) fn check(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        let attempts = self.attempts.or(u32::from(default.attempts));
        RetryPolicy {
            attempts: u8::try_from(attempts).unwrap_or(default.attempts),
            idempotency_key: self.idempotency_key.or(default.idempotency_key),
            grpc: self.grpc.or(default.grpc),
        }
    }
}
