//! `[route.retry]`: how far to go for an answer.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::quantity::{Boolean, Integer};
use crate::table::policy::RetryPolicy;

/// How far to go for an answer.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<RetryPolicy>)]
pub(super) struct RetrySection {
    attempts: Field<Integer<1, 8>>,
    idempotency_key: Field<Boolean>,
    grpc: Field<Boolean>,
}

impl RetrySection {
    pub(super) fn check(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            attempts: self.attempts.or(default.attempts),
            idempotency_key: self.idempotency_key.or(default.idempotency_key),
            grpc: self.grpc.or(default.grpc),
        }
    }
}
