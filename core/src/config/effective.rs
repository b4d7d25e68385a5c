//! The configuration in effect: defaults written out, secrets left out.

use serde_json::{Value, json};

use crate::config::{Config, DownstreamTimeouts, ListenerConfig};
use crate::model::id::RegionId;
use crate::table::RoutingTable;
use crate::table::origin::{HostField, Region, UpstreamHttp};
use crate::table::policy::{Policy, UpstreamTimeouts};
use crate::table::route::{HostPattern, Route};

/// `config` as JSON, in the words of the file. Durations are in seconds.
#[must_use]
pub fn effective(config: &Config) -> Value {
    let table = &config.table;
    json!({
        "name": config.name,
        "workers": config.workers,
        "listener": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": {
            "address": config.admin.address,
            "token": config.admin.token.as_ref().map(|_| "<redacted>"),
        },
        "viewer": {
            "country_headers": config.viewer.country_headers,
            "geoip": config.viewer.geoip,
            "unknown": format!("{:?}", config.viewer.unknown).to_lowercase(),
        },
        "limits": {
            "header_bytes": config.limits.header_bytes,
            "header_fields": config.limits.header_fields,
            "connections_per_worker": config.limits.connections_per_worker,
            "replay_bytes": config.limits.replay_bytes,
            "replay_total_bytes": config.limits.replay_total_bytes,
            "retry_budget": config.limits.retry_budget,
            "retry_budget_minimum": config.limits.retry_budget_minimum,
            "idle_connections_per_endpoint": config.limits.idle_connections_per_endpoint,
        },
        "dns": {
            "servers": config.dns.servers,
            "min_ttl": config.dns.min_ttl.as_secs_f64(),
            "max_ttl": config.dns.max_ttl.as_secs_f64(),
            "keep_last_good": config.dns.keep_last_good.as_secs_f64(),
        },
        "drain": {
            "delay": config.drain.delay.as_secs_f64(),
            "timeout": config.drain.timeout.as_secs_f64(),
        },
        "access_log": {
            "enabled": config.access_log.enabled,
            "sample": config.access_log.sample,
            "path": config.access_log.path,
        },
        "state": { "dir": config.state.dir },
        "region": table.regions.iter().map(region).collect::<Vec<_>>(),
        "route": table.routes.iter().map(|one| route(table, one)).collect::<Vec<_>>(),
    })
}

fn listener(listener: &ListenerConfig) -> Value {
    let certificates = listener.tls.as_ref().map(|tls| {
        let files = tls.certificates.iter();
        files
            .map(|files| json!({"cert": files.cert, "key": files.key}))
            .collect::<Vec<_>>()
    });
    let trusted: Vec<_> = listener
        .trusted_peers
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "address": listener.address,
        "tls": certificates,
        "client_ca": listener.tls.as_ref().and_then(|tls| tls.client_ca.as_ref()),
        "trusted_peers": trusted,
        "proxy_protocol": if listener.proxy_protocol { "v1v2" } else { "off" },
        "timeouts": downstream(listener.timeouts),
    })
}

fn downstream(timeouts: DownstreamTimeouts) -> Value {
    json!({
        "handshake": timeouts.handshake.as_secs_f64(),
        "head": timeouts.head.as_secs_f64(),
        "body_progress": timeouts.body_progress.as_secs_f64(),
        "idle": timeouts.idle.as_secs_f64(),
    })
}

fn upstream(timeouts: UpstreamTimeouts) -> Value {
    json!({
        "connect": timeouts.connect.as_secs_f64(),
        "first_byte": timeouts.first_byte.as_secs_f64(),
        "request": timeouts.request.as_secs_f64(),
        "body_progress": timeouts.body_progress.as_secs_f64(),
        "resume_after": timeouts.resume_after.as_secs_f64(),
        "upstream_idle": timeouts.idle.as_secs_f64(),
    })
}

fn region(region: &Region) -> Value {
    let upstream = &region.upstream;
    let probe = &region.probe;
    json!({
        "name": region.name.as_ref(),
        "origins": region.origins.iter().map(|origin| origin.url()).collect::<Vec<_>>(),
        "host": match &upstream.host {
            HostField::Viewer => "viewer",
            HostField::Origin => "origin",
            HostField::Fixed(host) => host,
        },
        "http": match upstream.http {
            UpstreamHttp::Http1 => "1.1",
            UpstreamHttp::Http2 => "2",
            UpstreamHttp::Auto => "auto",
        },
        "tls": {"ca": upstream.ca, "server_name": upstream.server_name},
        "location": region.place.map(|place| json!({
            "lat": place.latitude(), "lon": place.longitude(),
        })),
        "probe": {
            "path": probe.path,
            "host": probe.host,
            "interval": probe.interval.as_secs_f64(),
            "fast_interval": probe.fast_interval.as_secs_f64(),
            "timeout": probe.timeout.as_secs_f64(),
            "status": [probe.status.0, probe.status.1],
            "text": probe.text,
            "json": probe.json,
            "region_field": probe.region_field,
            "fall": probe.fall,
            "rise": probe.rise,
        },
    })
}

fn route(table: &RoutingTable, route: &Route) -> Value {
    let name = |id: RegionId| table.region(id).name.to_string();
    let weights = match &route.policy {
        Policy::Weighted(weights) => Some(
            weights
                .iter()
                .map(|(id, weight)| (name(*id), *weight))
                .collect::<Vec<_>>(),
        ),
        _ => None,
    };
    let prefer = route.prefer.iter().map(|line| {
        json!({
            "for": line.group.label(),
            "regions": line.regions.iter().map(|id| name(*id)).collect::<Vec<_>>(),
        })
    });
    let residency = route.residency.iter().map(|line| {
        json!({
            "for": line.group.label(),
            "regions": line.regions.iter().map(name).collect::<Vec<_>>(),
        })
    });
    json!({
        "name": route.name.as_ref(),
        "host": match &route.host {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Suffix(suffix) => format!("*.{suffix}"),
            HostPattern::Any => "*".to_owned(),
        },
        "path": route.path,
        "regions": route.order.iter().map(|id| name(*id)).collect::<Vec<_>>(),
        "policy": route.policy.label(),
        "weights": weights,
        "prefer": prefer.collect::<Vec<_>>(),
        "residency": residency.collect::<Vec<_>>(),
        "retry": {
            "attempts": route.retry.attempts,
            "idempotency_key": route.retry.idempotency_key,
            "grpc": route.retry.grpc,
        },
        "timeouts": upstream(route.timeouts),
        "written": table.place(route.written),
    })
}
