//! The sections of plain values: time limits, bounds, names, leaving, the log.

use std::time::Duration;

use crate::config::check::Context;
use crate::config::fields::Fields;
use crate::config::value;
use crate::config::{
    AccessLogConfig, DnsConfig, DownstreamTimeouts, DrainConfig, FailbackConfig, FailbackMode,
    LimitsConfig, StateConfig,
};
use crate::table::policy::UpstreamTimeouts;

/// What a proxy calls itself unless the file says.
const DEFAULT_NAME: &str = "meridian";

/// Orchestrators kill after 30 s: two seconds are left for the process to end.
const KILLED_SOON: Duration = Duration::from_secs(28);

/// No head of a sane client comes near this.
const LARGEST_HEAD: usize = 1 << 20;

/// `name`: a token (RFC 9110 section 5.6.2), as the fields that carry it ask for.
pub(super) fn name(root: &Fields<'_>, context: &Context<'_>) -> String {
    let Some(name) = root.text("name") else {
        return DEFAULT_NAME.to_owned();
    };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    // Structured fields (RFC 9651) want a letter or an asterisk first.
    let first = name
        .text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'*');
    if !first || !name.text.bytes().all(token) {
        context.error(
            "bad-name",
            name.span,
            format!("{:?} is no token", name.text),
            "use letters, digits, `-`, `_` and `.`, a letter first",
        );
    }
    name.text.to_owned()
}

/// `[timeouts]`: both sides.
pub(super) fn timeouts(
    root: &Fields<'_>,
    context: &Context<'_>,
) -> (DownstreamTimeouts, UpstreamTimeouts) {
    let down = DownstreamTimeouts::default();
    let up = UpstreamTimeouts::default();
    let Some(section) = root.section("timeouts") else {
        return (down, up);
    };
    let up = upstream(&section, up);
    first_byte_within_request(&section, up, context);
    (downstream(&section, down), up)
}

/// The limits towards viewers that `section` writes, the rest as in `before`.
pub(super) fn downstream(section: &Fields<'_>, before: DownstreamTimeouts) -> DownstreamTimeouts {
    DownstreamTimeouts {
        handshake: section.duration("handshake").unwrap_or(before.handshake),
        head: section.duration("head").unwrap_or(before.head),
        body_progress: section
            .duration("body_progress")
            .unwrap_or(before.body_progress),
        idle: section.duration("idle").unwrap_or(before.idle),
    }
}

/// The limits towards origins that `section` writes, the rest as in `before`.
pub(super) fn upstream(section: &Fields<'_>, before: UpstreamTimeouts) -> UpstreamTimeouts {
    UpstreamTimeouts {
        connect: section.duration("connect").unwrap_or(before.connect),
        first_byte: section.duration("first_byte").unwrap_or(before.first_byte),
        request: section.duration("request").unwrap_or(before.request),
        body_progress: section
            .duration("body_progress")
            .unwrap_or(before.body_progress),
        resume_after: section
            .duration("resume_after")
            .unwrap_or(before.resume_after),
        idle: section.duration("upstream_idle").unwrap_or(before.idle),
    }
}

/// `first_byte` is one attempt of all those that `request` bounds.
pub(super) fn first_byte_within_request(
    section: &Fields<'_>,
    timeouts: UpstreamTimeouts,
    context: &Context<'_>,
) {
    if timeouts.first_byte <= timeouts.request {
        return;
    }
    let key = if section.key_span("first_byte").is_some() {
        "first_byte"
    } else {
        "request"
    };
    let message = format!(
        "`first_byte` ({:?}) is longer than `request` ({:?})",
        timeouts.first_byte, timeouts.request
    );
    let help = "one attempt fits several times into `request`, which bounds all of them";
    context.error("first-byte-over-request", section.place(key), message, help);
}

/// `[limits]`.
pub(super) fn limits(root: &Fields<'_>, context: &Context<'_>) -> LimitsConfig {
    let default = LimitsConfig::default();
    let Some(section) = root.section("limits") else {
        return default;
    };
    let count = |key: &str, default: usize| {
        let number = section.integer(key);
        number.map_or(default, |number| usize::try_from(number).unwrap_or(default))
    };
    let size = |key: &str, default: usize| section.size(key).unwrap_or(default);
    let limits = LimitsConfig {
        header_bytes: size("header_bytes", default.header_bytes),
        header_fields: count("header_fields", default.header_fields),
        connections_per_worker: count("connections_per_worker", default.connections_per_worker),
        replay_bytes: size("replay_bytes", default.replay_bytes),
        replay_total_bytes: size("replay_total_bytes", default.replay_total_bytes),
        retry_budget: section
            .share("retry_budget")
            .unwrap_or(default.retry_budget),
        retry_budget_minimum: section
            .integer("retry_budget_minimum")
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(default.retry_budget_minimum),
        idle_connections_per_endpoint: count(
            "idle_connections_per_endpoint",
            default.idle_connections_per_endpoint,
        ),
    };
    if limits.header_bytes > LARGEST_HEAD {
        let message = "`header_bytes` is at most 1 MiB".to_owned();
        let help = "a head is held in memory for every connection";
        context.error("out-of-range", section.place("header_bytes"), message, help);
    }
    if limits.replay_bytes > limits.replay_total_bytes {
        let message = "`replay_bytes` of one request is more than `replay_total_bytes`".to_owned();
        let help = "raise the total, or lower the share of one request";
        context.error("bad-order", section.place("replay_bytes"), message, help);
    }
    limits
}

/// `[dns]`.
pub(super) fn dns(root: &Fields<'_>, context: &Context<'_>) -> DnsConfig {
    let default = DnsConfig::default();
    let Some(section) = root.section("dns") else {
        return default;
    };
    let mut servers = Vec::new();
    for server in section.texts("servers").unwrap_or_default() {
        match value::address_or_port(server.text, 53) {
            Some(address) => servers.push(address),
            None => {
                let message = format!("`{}` is not an address", server.text);
                let help = "write an address, with a port unless it is 53: \"10.0.0.2:5353\"";
                context.error("bad-address", server.span, message, help);
            }
        }
    }
    let dns = DnsConfig {
        servers,
        min_ttl: section.duration("min_ttl").unwrap_or(default.min_ttl),
        max_ttl: section.duration("max_ttl").unwrap_or(default.max_ttl),
        keep_last_good: section
            .duration("keep_last_good")
            .unwrap_or(default.keep_last_good),
    };
    if dns.min_ttl > dns.max_ttl {
        let key = if section.key_span("min_ttl").is_some() {
            "min_ttl"
        } else {
            "max_ttl"
        };
        let message = format!(
            "`min_ttl` ({:?}) is longer than `max_ttl` ({:?})",
            dns.min_ttl, dns.max_ttl
        );
        context.error("bad-order", section.place(key), message, "swap them");
    }
    dns
}

/// `[drain]`.
pub(super) fn drain(root: &Fields<'_>, context: &Context<'_>) -> DrainConfig {
    let default = DrainConfig::default();
    let Some(section) = root.section("drain") else {
        return default;
    };
    let drain = DrainConfig {
        delay: section.duration("delay").unwrap_or(default.delay),
        timeout: section.duration("timeout").unwrap_or(default.timeout),
    };
    if drain.delay + drain.timeout > KILLED_SOON {
        context.warn(
            "drain-too-long",
            section.span,
            "`delay` and `timeout` together are longer than 28 s",
            "ECS and Kubernetes kill after 30 s unless told otherwise; requests would be cut off",
        );
    }
    drain
}

/// `[access_log]`.
pub(super) fn access_log(root: &Fields<'_>, context: &Context<'_>) -> AccessLogConfig {
    let default = AccessLogConfig::default();
    let Some(section) = root.section("access_log") else {
        return default;
    };
    // Written, not read: so it is no named file to watch.
    let path = section.text("path");
    let path = path.map(|path| context.sources.relative(path.text, path.span));
    AccessLogConfig {
        enabled: section.flag("enabled").unwrap_or(default.enabled),
        sample: section.share("sample").unwrap_or(default.sample),
        path,
    }
}

/// `[failback]` or a route's, the rest as in `before`.
pub(super) fn failback(section: Option<Fields<'_>>, before: FailbackConfig) -> FailbackConfig {
    let Some(section) = section else {
        return before;
    };
    FailbackConfig {
        mode: match section.word("mode") {
            Some("auto") => FailbackMode::Auto,
            Some("confirm") => FailbackMode::Confirm,
            Some("manual") => FailbackMode::Manual,
            _ => before.mode,
        },
        hold_down: section.duration("hold_down").unwrap_or(before.hold_down),
        ramp: section.duration("ramp").unwrap_or(before.ramp),
    }
}

/// `[state]`.
pub(super) fn state(root: &Fields<'_>, context: &Context<'_>) -> StateConfig {
    let Some(section) = root.section("state") else {
        return StateConfig::default();
    };
    let Some(dir) = section.text("dir") else {
        return StateConfig::default();
    };
    if dir.text.is_empty() {
        let help = "leave the key out to keep state in memory only";
        let message = "this names no directory".to_owned();
        context.error("bad-value", dir.span, message, help);
    }
    // Written, not only read: so it is no named file to watch.
    StateConfig {
        dir: Some(context.sources.relative(dir.text, dir.span)),
        written: Some(dir.span),
    }
}
