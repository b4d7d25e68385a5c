//! The configuration in effect: defaults written out, secrets left out.

use serde_json::{Value, json};

use crate::config::default::duration;
use crate::config::listener::ListenerConfig;
use crate::config::root::Config;
use crate::model::id::{RegionId, RouteId};
use crate::table::RoutingTable;
use crate::table::origin::{HostField, Region};
use crate::table::policy::Policy;
use crate::table::route::{HostPattern, Route};

/// `config` as JSON, in the words of the file. Durations are in seconds.
#[must_use]
pub fn effective(config: &Config) -> Value {
    let table = &config.table;
    let mut effective = json!({
        "name": config.name,
        "workers": config.workers,
        "listener": config.listeners.iter().map(listener).collect::<Vec<_>>(),
        "admin": config.admin,
        "viewer": config.viewer,
        "limits": config.limits,
        "dns": config.dns,
        "drain": config.drain,
        "access_log": config.access_log,
        "failback": table.failbacks().first(),
        "outlier_detection": table.traffic.outlier_detection,
        "hedge": table.traffic.hedge,
        "probation": table.traffic.probation,
        "state": config.state,
        "region": table.regions.iter().map(region).collect::<Vec<_>>(),
        "route": (0..).map(RouteId).zip(&table.routes).map(|one| route(table, one)).collect::<Vec<_>>(),
    });
    in_seconds(&mut effective);
    effective
}

/// Replaces every duration within `value` by its seconds.
fn in_seconds(value: &mut Value) {
    if let Some(duration) = duration(value) {
        *value = duration.as_secs_f64().into();
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(in_seconds),
        Value::Array(items) => items.iter_mut().for_each(in_seconds),
        _ => {}
    }
}

fn listener(listener: &ListenerConfig) -> Value {
    let trusted: Vec<_> = listener
        .trusted_peers
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "address": listener.address,
        "tls": listener.tls.as_ref().map(|tls| &tls.certificates),
        "client_ca": listener.tls.as_ref().and_then(|tls| tls.client_ca.as_ref()),
        "trusted_peers": trusted,
        "proxy_protocol": if listener.proxy_protocol { "v1v2" } else { "off" },
        "timeouts": listener.timeouts,
    })
}

fn region(region: &Region) -> Value {
    let upstream = &region.upstream;
    json!({
        "name": region.name.as_ref(),
        "origins": region.origins.iter().map(|origin| origin.url()).collect::<Vec<_>>(),
        "host": match &upstream.host {
            HostField::Viewer => "viewer",
            HostField::Origin => "origin",
            HostField::Fixed(host) => host,
        },
        "http": upstream.http,
        "tls": {"ca": upstream.ca, "server_name": upstream.server_name},
        "location": region.place.map(|place| json!({
            "lat": place.latitude(), "lon": place.longitude(),
        })),
        "probe": region.probe,
    })
}

fn route(table: &RoutingTable, (id, route): (RouteId, &Route)) -> Value {
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
        "retry": route.retry,
        "timeouts": route.timeouts,
        "failback": table.failbacks().get(table.failback_of(id).index()),
        "written": table.place(route.written),
    })
}
