//! `[limits]`: bounds that hold everywhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::{ByteSize, Fraction, Integer};

/// No head of a sane client comes near this.
const LARGEST_HEAD: usize = 1 << 20;

/// Bounds that hold everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct LimitsConfig {
    /// One head, either way; at most 1 MiB.
    pub header_bytes: usize,
    /// Fields of one head.
    pub header_fields: usize,
    /// Viewers' connections of one worker.
    pub connections_per_worker: usize,
    /// Of one request body, kept to send it again; a longer body is streamed and sent once.
    pub replay_bytes: usize,
    /// All such bodies together.
    pub replay_total_bytes: usize,
    /// Retries as a share of a worker's requests in ten seconds, 500 at least, per destination
    /// region.
    pub retry_budget: f64,
    /// Retries that are always allowed at once, per destination region.
    pub retry_budget_minimum: u32,
    /// Unused connections kept per endpoint and worker.
    pub idle_connections_per_endpoint: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            header_bytes: 64 << 10,
            header_fields: 100,
            connections_per_worker: 10_000,
            replay_bytes: 64 << 10,
            replay_total_bytes: 64 << 20,
            retry_budget: 0.2,
            retry_budget_minimum: 3,
            idle_connections_per_endpoint: 1024,
        }
    }
}

/// Bounds that hold everywhere.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<LimitsConfig>)]
pub(super) struct LimitsSection {
    header_bytes: Field<ByteSize<1024>>,
    header_fields: Field<Integer<10, 10_000>>,
    connections_per_worker: Field<Integer<1, 10_000_000>>,
    replay_bytes: Field<ByteSize<0>>,
    replay_total_bytes: Field<ByteSize<0>>,
    retry_budget: Field<Fraction>,
    retry_budget_minimum: Field<Integer<0, { u32::MAX }>>,
    idle_connections_per_endpoint: Field<Integer<0, 100_000>>,
}

impl LimitsSection {
    pub(super) fn check(&self, span: Span, context: &CheckContext<'_>) -> LimitsConfig {
        let default = LimitsConfig::default();
        let limits = LimitsConfig {
            header_bytes: self.header_bytes.or(default.header_bytes),
            header_fields: self.header_fields.or(default.header_fields),
            connections_per_worker: self
                .connections_per_worker
                .or(default.connections_per_worker),
            replay_bytes: self.replay_bytes.or(default.replay_bytes),
            replay_total_bytes: self.replay_total_bytes.or(default.replay_total_bytes),
            retry_budget: self.retry_budget.or(default.retry_budget),
            retry_budget_minimum: self.retry_budget_minimum.or(default.retry_budget_minimum),
            idle_connections_per_endpoint: self
                .idle_connections_per_endpoint
                .or(default.idle_connections_per_endpoint),
        };
        if limits.header_bytes > LARGEST_HEAD {
            let message = "`header_bytes` is at most 1 MiB";
            let help = "a head is held in memory for every connection";
            let place = self.header_bytes.place(span);
            context.error("out-of-range", place, message, help);
        }
        if limits.replay_bytes > limits.replay_total_bytes {
            let message = "`replay_bytes` of one request is more than `replay_total_bytes`";
            let help = "raise the total, or lower the share of one request";
            let place = self.replay_bytes.place(span);
            context.error("bad-order", place, message, help);
        }
        limits
    }
}
