//! Towards viewers and operators: listeners, admin, where a viewer is.

use std::collections::HashMap;
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::config::check::Context;
use crate::config::check::settings;
use crate::config::fields::{Fields, OneOrMore};
use crate::config::problem::Problem;
use crate::config::tree::Value;
use crate::config::{
    AdminConfig, CertificateFiles, DownstreamTimeouts, ListenerConfig, TlsConfig, ViewerConfig,
    value,
};
use crate::model::country::Country;
use crate::model::viewer::UnknownViewer;

/// Where operators connect unless the file says otherwise.
const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);

/// `[[listener]]`.
pub(super) fn listeners(
    root: &Fields<'_>,
    timeouts: DownstreamTimeouts,
    context: &Context<'_>,
) -> Vec<ListenerConfig> {
    if root.node("listener").is_none() {
        let problem = Problem::error("no-listener", None, "there is no listener");
        let help = "add one: [[listener]] with address = \"0.0.0.0:8080\"";
        context.report.push(problem.help(help));
    }
    let mut taken = HashMap::new();
    let mut listeners = Vec::new();
    for fields in root.sections("listener") {
        let Some(listener) = listener(&fields, timeouts, context) else {
            continue;
        };
        // Port 0 asks for any free port: two such listeners never meet.
        let address = listener.address;
        let before = (address.port() != 0)
            .then(|| taken.insert(address, fields.span))
            .flatten();
        if let Some(first) = before {
            let line = context.sources.written(first).line;
            let message = format!("another listener has the address {address} (line {line})");
            let span = fields.place("address");
            context.report.error("duplicate-listener", span, message);
        }
        listeners.push(listener);
    }
    listeners
}

fn listener(
    fields: &Fields<'_>,
    timeouts: DownstreamTimeouts,
    context: &Context<'_>,
) -> Option<ListenerConfig> {
    let tls = fields
        .one_or_more("tls")
        .and_then(|tls| tls_files(&tls, fields, context));
    let trusted_peers = trusted_peers(fields, context);
    let proxy_protocol = fields.word("proxy_protocol") == Some("v1v2");
    if proxy_protocol && fields.node("trusted_peers").is_none() {
        let message = "PROXY headers are believed from `trusted_peers` only, and there are none";
        let help = "name the networks of the load balancer: trusted_peers = [\"10.0.0.0/8\"]";
        let span = fields.place("proxy_protocol");
        context.error(
            "proxy-without-trusted-peers",
            span,
            message.to_owned(),
            help,
        );
    }
    let timeouts = fields
        .section("timeouts")
        .map_or(timeouts, |section| settings::downstream(&section, timeouts));
    Some(ListenerConfig {
        address: address(fields, context)?,
        tls,
        trusted_peers,
        proxy_protocol,
        timeouts,
    })
}

fn address(fields: &Fields<'_>, context: &Context<'_>) -> Option<SocketAddr> {
    let written = fields.text("address")?;
    let address = written.text.parse().ok();
    if address.is_none() {
        let message = format!("`{}` is not an address and port", written.text);
        let help = "write \"0.0.0.0:8443\", or \"[::]:8443\" for IPv6";
        context.error("bad-address", written.span, message, help);
    }
    address
}

fn trusted_peers(fields: &Fields<'_>, context: &Context<'_>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for peer in fields.texts("trusted_peers").unwrap_or_default() {
        match value::peers(peer.text) {
            Some(peers) => networks.extend(peers),
            None => {
                let message = format!("`{}` is not a network", peer.text);
                let help = "write \"10.0.0.0/8\", \"2001:db8::/32\", an address, or \"loopback\"";
                context.error("bad-cidr", peer.span, message, help);
            }
        }
    }
    networks
}

fn tls_files(
    tls: &OneOrMore<'_>,
    listener: &Fields<'_>,
    context: &Context<'_>,
) -> Option<TlsConfig> {
    let (certificates, client_ca) = match tls {
        OneOrMore::More(several) => (several.clone(), None),
        OneOrMore::One(fields) => {
            let client_ca = context.path(fields, "client_ca");
            let several = fields.sections("certs");
            let single = ["cert", "key"].map(|key| fields.node(key).is_some());
            if single != [true, true] {
                // Half a pair: what is there is checked all the same.
                let _ = ["cert", "key"].map(|key| context.path(fields, key));
            }
            match (fields.node("certs").is_some(), single) {
                (true, [false, false]) => (several, client_ca),
                (false, [true, true]) => (vec![*fields], client_ca),
                (true, _) => {
                    let message = "`certs` stands instead of `cert` and `key`".to_owned();
                    let help = "move this certificate into `certs`; the first is the default";
                    context.error("bad-tls", fields.span, message, help);
                    return None;
                }
                (false, _) => {
                    let message = "a certificate needs both `cert` and `key`".to_owned();
                    let help = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
                    context.error("bad-tls", fields.span, message, help);
                    return None;
                }
            }
        }
    };
    let files = certificates.iter().filter_map(|fields| {
        // Both are read before either is missed: each may have its own problem.
        let (cert, key) = (context.path(fields, "cert"), context.path(fields, "key"));
        Some(CertificateFiles {
            cert: cert?,
            key: key?,
        })
    });
    let certificates: Vec<_> = files.collect();
    if certificates.is_empty() {
        let place = listener.place("tls");
        let message = "TLS without a certificate".to_owned();
        let help = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
        context.error("bad-tls", place, message, help);
    }
    Some(TlsConfig {
        certificates,
        client_ca,
    })
}

/// `[admin]`.
pub(super) fn admin(
    root: &Fields<'_>,
    listeners: &[ListenerConfig],
    context: &Context<'_>,
) -> AdminConfig {
    let Some(section) = root.section("admin") else {
        return AdminConfig {
            address: Some(ADMIN_ADDRESS),
            token: None,
        };
    };
    let written = section.node("address").map(|node| &node.value);
    let off = matches!(written, Some(Value::Text(text)) if text == "off");
    let address = match section.node("address") {
        None => Some(ADMIN_ADDRESS),
        Some(_) if off => None,
        Some(_) => address(&section, context),
    };
    let token = context.secret(&section, "token");
    let span = section.place("address");
    if let Some(address) = address {
        if !address.ip().is_loopback() && section.node("token").is_none() {
            let message = format!("the admin address {address} can be reached from elsewhere");
            let help = "add token = { file = \"/run/secrets/admin-token\" }, or bind 127.0.0.1";
            context.error("admin-without-token", span, message, help);
        }
        if address.port() != 0 && listeners.iter().any(|l| l.address == address) {
            let message = format!("a listener has the address {address} already");
            context.report.error("duplicate-listener", span, message);
        }
    }
    AdminConfig { address, token }
}

/// `[viewer]`.
pub(super) fn viewer(
    root: &Fields<'_>,
    listeners: &[ListenerConfig],
    context: &Context<'_>,
) -> ViewerConfig {
    let default = || vec!["cloudfront-viewer-country".to_owned()];
    let Some(section) = root.section("viewer") else {
        return ViewerConfig {
            country_headers: default(),
            geoip: None,
            unknown: UnknownViewer::Any,
        };
    };
    let written = section.texts("country_headers");
    let believed = listeners
        .iter()
        .any(|listener| !listener.trusted_peers.is_empty());
    if written.as_ref().is_some_and(|names| !names.is_empty()) && !believed {
        let message = "country headers are believed from `trusted_peers` only, and no listener \
                       has any";
        let help = "name the proxies in front on the listener: trusted_peers = [\"10.0.0.0/8\"]";
        let span = section.place("country_headers");
        context.error(
            "header-without-trusted-peers",
            span,
            message.to_owned(),
            help,
        );
    }
    let country_headers = written.map_or_else(default, |names| {
        let good = names.iter().filter(|name| {
            let good = value::is_header_name(name.text);
            if !good {
                let message = format!("`{}` cannot be the name of a header", name.text);
                context.report.error("bad-header", name.span, message);
            }
            good
        });
        good.map(|name| name.text.to_ascii_lowercase()).collect()
    });
    ViewerConfig {
        country_headers,
        geoip: context.path(&section, "geoip"),
        unknown: unknown(&section, context),
    }
}

fn unknown(section: &Fields<'_>, context: &Context<'_>) -> UnknownViewer {
    let Some(written) = section.text("unknown") else {
        return UnknownViewer::Any;
    };
    match written.text {
        "any" => UnknownViewer::Any,
        "refuse" => UnknownViewer::Refuse,
        code => Country::parse(code.as_bytes()).map_or_else(
            || {
                let message = format!("`{code}` is not a country code");
                let help = "write \"any\", \"refuse\", or a code of two letters such as \"US\"";
                context.error("bad-country", written.span, message, help);
                UnknownViewer::Any
            },
            UnknownViewer::Country,
        ),
    }
}
