//! `[timeouts]`: time limits, and those of a listener or a route.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::TimeSpan;
use crate::table::policy::UpstreamTimeouts;

/// Time limits towards the viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DownstreamTimeouts {
    /// A viewer's TLS handshake, and the PROXY header before it.
    pub handshake: Duration,
    /// A whole request head.
    pub head: Duration,
    /// A body that stands still, either way.
    pub body_progress: Duration,
    /// A viewer's connection between requests. Longer than a load balancer in front keeps its own
    /// (60 s for an ALB), so that it closes first.
    pub idle: Duration,
}

impl Default for DownstreamTimeouts {
    /// 75 s idle: longer than an ALB (60 s) or CloudFront (5 s) in front keeps a connection, so
    /// that they close first and never meet a closing peer.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(10),
            body_progress: Duration::from_secs(15),
            idle: Duration::from_secs(75),
        }
    }
}

/// Time limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(
    deny_unknown_fields,
    transform = documented::<UpstreamTimeouts>,
    transform = documented::<DownstreamTimeouts>
)]
pub(super) struct TimeoutsSection {
    handshake: Field<TimeSpan<1>>,
    head: Field<TimeSpan<1>>,
    body_progress: Field<TimeSpan<1>>,
    idle: Field<TimeSpan<1>>,
    connect: Field<TimeSpan<1>>,
    first_byte: Field<TimeSpan<1>>,
    request: Field<TimeSpan<1>>,
    resume_after: Field<TimeSpan<1>>,
    upstream_idle: Field<TimeSpan<1>>,
}

impl TimeoutsSection {
    /// Both sides.
    pub(super) fn check(
        &self,
        span: Span,
        context: &CheckContext<'_>,
    ) -> (DownstreamTimeouts, UpstreamTimeouts) {
        let downstream = ListenerTimeoutsSection {
            handshake: self.handshake,
            head: self.head,
            body_progress: self.body_progress,
            idle: self.idle,
        };
        let upstream = RouteTimeoutsSection {
            body_progress: self.body_progress,
            connect: self.connect,
            first_byte: self.first_byte,
            request: self.request,
            resume_after: self.resume_after,
            upstream_idle: self.upstream_idle,
        };
        (
            downstream.check(DownstreamTimeouts::default()),
            upstream.check(span, UpstreamTimeouts::default(), context),
        )
    }
}

/// Time limits of one listener's viewers. Absent: as in `[timeouts]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<DownstreamTimeouts>)]
pub(super) struct ListenerTimeoutsSection {
    handshake: Field<TimeSpan<1>>,
    head: Field<TimeSpan<1>>,
    body_progress: Field<TimeSpan<1>>,
    idle: Field<TimeSpan<1>>,
}

impl ListenerTimeoutsSection {
    /// What is written here, the rest as in `before`.
    pub(super) fn check(&self, before: DownstreamTimeouts) -> DownstreamTimeouts {
        DownstreamTimeouts {
            handshake: self.handshake.or(before.handshake),
            head: self.head.or(before.head),
            body_progress: self.body_progress.or(before.body_progress),
            idle: self.idle.or(before.idle),
        }
    }
}

/// Time limits of one route towards its origins. Absent: as in `[timeouts]`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<UpstreamTimeouts>)]
pub(super) struct RouteTimeoutsSection {
    body_progress: Field<TimeSpan<1>>,
    connect: Field<TimeSpan<1>>,
    first_byte: Field<TimeSpan<1>>,
    request: Field<TimeSpan<1>>,
    resume_after: Field<TimeSpan<1>>,
    upstream_idle: Field<TimeSpan<1>>,
}

impl RouteTimeoutsSection {
    /// What is written here, the rest as in `before`.
    pub(super) fn check(
        &self,
        span: Span,
        before: UpstreamTimeouts,
        context: &CheckContext<'_>,
    ) -> UpstreamTimeouts {
        let timeouts = UpstreamTimeouts {
            connect: self.connect.or(before.connect),
            first_byte: self.first_byte.or(before.first_byte),
            request: self.request.or(before.request),
            body_progress: self.body_progress.or(before.body_progress),
            resume_after: self.resume_after.or(before.resume_after),
            idle: self.upstream_idle.or(before.idle),
        };
        // `first_byte` is one attempt of all those that `request` bounds.
        if timeouts.first_byte > timeouts.request {
            let message = format!(
                "`first_byte` ({:?}) is longer than `request` ({:?})",
                timeouts.first_byte, timeouts.request
            );
            let help = "one attempt fits several times into `request`, which bounds all of them";
            let place = self.first_byte.place(self.request.place(span));
            context.error("first-byte-over-request", place, message, help);
        }
        timeouts
    }
}
