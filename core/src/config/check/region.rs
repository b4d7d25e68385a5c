//! Regions: their origins, how to speak to them, and their probes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::check::Context;
use crate::config::fields::{Fields, wrong_type};
use crate::config::problem::Problem;
use crate::config::tree::{Node, Value};
use crate::config::value;
use crate::model::id::MAX_REGIONS;
use crate::model::place::{self, Place};
use crate::table::origin::{HostField, Origin, ProbeSpec, Region, UpstreamHttp, UpstreamSpec};

/// `[region.X]`, sorted by name.
pub(super) fn regions(root: &Fields<'_>, context: &Context<'_>) -> Vec<Region> {
    let probe = match root.section("probe") {
        Some(section) => probe(&section, ProbeSpec::default(), context),
        None => ProbeSpec::default(),
    };
    let named = root.named("region");
    if root.node("region").is_none() || root.entries("region").is_empty() {
        let problem = Problem::error("no-region", None, "there is no region");
        let help = "add one: [region.us-east-1] with origins = [\"https://api-us.example.com\"]";
        context.report.push(problem.help(help));
    }
    if let Some((beyond, _)) = named.get(MAX_REGIONS) {
        let message = format!("there are more than {MAX_REGIONS} regions");
        let help = "a route chooses among regions; zones of one region are its `origins`";
        context.error("too-many-regions", beyond.key, message, help);
    }
    let mut taken: HashMap<Origin, &str> = HashMap::new();
    let mut regions = Vec::with_capacity(named.len());
    for (entry, fields) in &named {
        if !value::is_name(entry.name) {
            let message = format!("`{}` cannot name a region", entry.name);
            let help = "use up to 64 letters, digits, `-`, `_` and `.`";
            context.error("bad-name", entry.key, message, help);
        }
        regions.push(Region {
            name: Arc::from(entry.name),
            origins: origins(fields, entry.name, &mut taken, context),
            upstream: upstream(fields, context),
            place: location(fields).or_else(|| place::known_region(entry.name)),
            probe: fields.section("probe").map_or_else(
                || probe.clone(),
                |section| self::probe(&section, probe.clone(), context),
            ),
            written: context.sources.written(entry.key),
        });
    }
    regions
}

fn origins<'a>(
    fields: &Fields<'a>,
    region: &'a str,
    taken: &mut HashMap<Origin, &'a str>,
    context: &Context<'_>,
) -> Vec<Origin> {
    let Some(written) = fields.texts("origins") else {
        return Vec::new();
    };
    let empty = matches!(fields.node("origins").map(|node| &node.value),
        Some(Value::Array(items)) if items.is_empty());
    if empty {
        let message = format!("region `{region}` has no origin");
        let help = "origins = [\"https://api.example.com\"]";
        context.error("empty-origins", fields.place("origins"), message, help);
    }
    let mut origins = Vec::with_capacity(written.len());
    for url in written {
        match value::origin(url.text) {
            Ok(origin) => {
                if let Some(other) = taken.insert(origin.clone(), region) {
                    // One service under two names would fail and be drained as two regions.
                    let span = url.span;
                    let message =
                        format!("`{}` is an origin of region `{other}` already", url.text);
                    let problem = Problem::warning("duplicate-origin", Some(span), message);
                    context.report.push(problem);
                }
                origins.push(origin);
            }
            Err(reason) => {
                let message = format!("`{}` is not an origin: {reason}", url.text);
                let help = "write scheme, host and port: \"https://api.example.com:8443\"";
                context.error("bad-url", url.span, message, help);
            }
        }
    }
    origins
}

fn location(fields: &Fields<'_>) -> Option<Place> {
    let section = fields.section("location")?;
    let (latitude, longitude) = (section.degrees("lat"), section.degrees("lon"));
    Place::at(latitude?, longitude?)
}

fn upstream(fields: &Fields<'_>, context: &Context<'_>) -> UpstreamSpec {
    let host = match fields.text("host") {
        None => HostField::Viewer,
        Some(written) => match written.text {
            "viewer" => HostField::Viewer,
            "origin" => HostField::Origin,
            name => {
                host(name, written.span, context);
                HostField::Fixed(name.to_ascii_lowercase())
            }
        },
    };
    let http = match fields.word("http") {
        Some("2") => UpstreamHttp::Http2,
        Some("auto") => UpstreamHttp::Auto,
        _ => UpstreamHttp::Http1,
    };
    let spec = UpstreamSpec {
        host,
        http,
        ..UpstreamSpec::default()
    };
    let Some(tls) = fields.section("tls") else {
        return spec;
    };
    let client = (context.path(&tls, "cert"), context.path(&tls, "key"));
    if tls.node("cert").is_some() != tls.node("key").is_some() {
        let message = "a certificate needs both `cert` and `key`".to_owned();
        let help = "tls = { cert = \"client.crt\", key = \"client.key\" }";
        context.error("bad-tls", tls.span, message, help);
    }
    let server_name = tls.text("server_name").map(|name| {
        if !value::is_authority(name.text) || name.text.contains(':') {
            let message = format!("`{}` is not a host name", name.text);
            context.report.error("bad-host", name.span, message);
        }
        name.text.to_ascii_lowercase()
    });
    UpstreamSpec {
        ca: context.path(&tls, "ca"),
        server_name,
        client_certificate: client.0.zip(client.1),
        ..spec
    }
}

fn host(name: &str, span: crate::config::problem::Span, context: &Context<'_>) {
    if !value::is_authority(name) {
        let message = format!("`{name}` is not a host");
        let help = "write a name, perhaps with a port: \"api.example.com\"";
        context.error("bad-host", span, message, help);
    }
}

/// What `section` writes of a probe, the rest as in `before`.
fn probe(section: &Fields<'_>, before: ProbeSpec, context: &Context<'_>) -> ProbeSpec {
    let path = section.text("path").map(|path| {
        if !value::is_path(path.text) {
            let message = format!("`{}` is not a path", path.text);
            let help = "a path begins with `/` and has no spaces: \"/health\"";
            context.error("bad-path", path.span, message, help);
        }
        path.text.to_owned()
    });
    let host = section.text("host").map(|name| {
        self::host(name.text, name.span, context);
        name.text.to_owned()
    });
    let threshold = |key: &str| section.integer(key).and_then(|n| u32::try_from(n).ok());
    let interval = section.duration("interval").unwrap_or(before.interval);
    let spec = ProbeSpec {
        path: path.unwrap_or(before.path),
        host: host.or(before.host),
        interval,
        // A shorter interval draws the default of the faster one with it.
        fast_interval: section
            .duration("fast_interval")
            .unwrap_or_else(|| before.fast_interval.min(interval)),
        timeout: section.duration("timeout").unwrap_or(before.timeout),
        status: status(section, context).unwrap_or(before.status),
        text: section
            .text("text")
            .map(|text| text.text.to_owned())
            .or(before.text),
        json: match section.node("json") {
            Some(_) => json(section, context),
            None => before.json,
        },
        region_field: section
            .text("region_field")
            .map(|field| field.text.to_owned())
            .or(before.region_field),
        fall: threshold("fall").unwrap_or(before.fall),
        rise: threshold("rise").unwrap_or(before.rise),
    };
    if spec.fast_interval > spec.interval {
        let message = format!(
            "`fast_interval` ({:?}) is longer than `interval` ({:?})",
            spec.fast_interval, spec.interval
        );
        let help = "it is the time between probes while a state is changing";
        context.error("bad-order", section.place("fast_interval"), message, help);
    }
    spec
}

fn status(section: &Fields<'_>, context: &Context<'_>) -> Option<(u16, u16)> {
    let node = section.node("status")?;
    let range = match &node.value {
        Value::Integer(code) => value::status(&code.to_string()),
        Value::Text(text) => value::status(text),
        _ => return wrong_type(context.report, node, "a status or a range of them", None),
    };
    if range.is_none() {
        let message = "this is no range of status codes".to_owned();
        context.error("bad-status", node.span, message, "write 200 or \"200-299\"");
    }
    range
}

fn json(section: &Fields<'_>, context: &Context<'_>) -> Vec<(String, serde_json::Value)> {
    let entries = section.entries("json").into_iter();
    entries
        .filter_map(|entry| Some((entry.name.to_owned(), plain(entry.node, context)?)))
        .collect()
}

fn plain(node: &Node, context: &Context<'_>) -> Option<serde_json::Value> {
    match &node.value {
        Value::Text(text) => Some(text.as_str().into()),
        Value::Integer(number) => Some((*number).into()),
        Value::Flag(flag) => Some((*flag).into()),
        Value::Float(number) => serde_json::Number::from_f64(*number).map(Into::into),
        _ => wrong_type(
            context.report,
            node,
            "a string, a number or a boolean",
            Some("name a field within by its dotted path: { \"checks.db\" = \"ok\" }"),
        ),
    }
}
