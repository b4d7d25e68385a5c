//! `[[listener]]`: where viewers connect.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::FilePath;
use crate::config::timeouts::{DownstreamTimeouts, ListenerTimeoutsSection};
use crate::config::value;

/// One place where viewers connect.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenerConfig {
    /// The address to bind.
    pub address: SocketAddr,
    /// Certificates, when the listener speaks TLS.
    pub tls: Option<TlsConfig>,
    /// Peers whose word on the viewer is believed.
    pub trusted_peers: Vec<IpNet>,
    /// Whether trusted peers start with a PROXY header (v1 or v2).
    pub proxy_protocol: bool,
    /// Time limits towards the viewer.
    pub timeouts: DownstreamTimeouts,
}

/// Certificates of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Chosen by SNI; the first is the default.
    pub certificates: Vec<CertificateFiles>,
    /// PEM file of the authorities that sign viewers' certificates; when present a viewer must
    /// show one (mTLS).
    pub client_ca: Option<PathBuf>,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Where viewers connect.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["address"]))]
pub(super) struct ListenerSection {
    /// Address and port to bind: `"0.0.0.0:8443"` or `"[::]:8443"`.
    address: Field<String>,
    /// Speak TLS: one certificate, or an array of certificates chosen by SNI, of which the first
    /// is the default. Absent: plain text.
    tls: Field<TlsChoice>,
    /// Who may set viewer headers and send a PROXY header: networks (`"10.0.0.0/8"`), addresses,
    /// or `"loopback"`. Nobody unless written.
    #[schemars(extend("default" = []))]
    trusted_peers: Field<Vec<Field<String>>>,
    /// Whether trusted peers begin each connection with a PROXY header, version 1 or 2.
    #[schemars(extend("default" = ProxyProtocol::Off))]
    proxy_protocol: Field<ProxyProtocol>,
    /// Time limits of this listener's viewers.
    timeouts: Field<ListenerTimeoutsSection>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
enum ProxyProtocol {
    #[serde(rename = "off")]
    Off,
    #[serde(rename = "v1v2")]
    V1V2,
}

/// One table, or an array of certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "$kind")]
#[schemars(untagged, extend("x-takes" = "table, or array of tables"))]
enum TlsChoice {
    #[serde(rename = "a table")]
    One(Box<TlsSection>),
    #[serde(rename = "an array")]
    Several(Vec<Field<CertificateSection>>),
}

/// Certificates of a listener. They are loaded again when the files change.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
struct TlsSection {
    /// PEM file of the certificate chain, leaf first.
    cert: Field<FilePath>,
    /// PEM file of its key.
    key: Field<FilePath>,
    /// Several certificates instead of `cert` and `key`, chosen by SNI; the first is the default.
    certs: Field<Vec<Field<CertificateSection>>>,
    /// PEM file of the authorities that sign viewers' certificates. When present, a viewer must
    /// show one.
    client_ca: Field<FilePath>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["cert", "key"]))]
struct CertificateSection {
    /// PEM file of the certificate chain, leaf first.
    cert: Field<FilePath>,
    /// PEM file of its key.
    key: Field<FilePath>,
}

/// All listeners, no two on one address.
pub(super) fn check(
    written: &Field<Vec<Field<ListenerSection>>>,
    timeouts: DownstreamTimeouts,
    context: &CheckContext<'_>,
) -> Vec<ListenerConfig> {
    if !written.is_written() {
        let help = "add one: [[listener]] with address = \"0.0.0.0:8080\"";
        context.missing("no-listener", "there is no listener", help);
    }
    let mut taken = HashMap::new();
    let mut listeners = Vec::new();
    for (section, span) in written.items() {
        let Some(listener) = section.check(span, timeouts, context) else {
            continue;
        };
        // Port 0 asks for any free port: two such listeners never meet.
        let address = listener.address;
        let before = (address.port() != 0)
            .then(|| taken.insert(address, span))
            .flatten();
        if let Some(first) = before {
            let line = context.sources.written(first).line;
            let message = format!("another listener has the address {address} (line {line})");
            let place = section.address.place(span);
            context.fault("duplicate-listener", place, message);
        }
        listeners.push(listener);
    }
    listeners
}

/// An address and a port to bind.
pub(super) fn socket_address(
    written: &Field<String>,
    context: &CheckContext<'_>,
) -> Option<SocketAddr> {
    let (text, span) = written.written()?;
    let address = text.parse().ok();
    if address.is_none() {
        let message = format!("`{text}` is not an address and port");
        let help = "write \"0.0.0.0:8443\", or \"[::]:8443\" for IPv6";
        context.error("bad-address", span, message, help);
    }
    address
}

impl ListenerSection {
    fn check(
        &self,
        span: Span,
        timeouts: DownstreamTimeouts,
        context: &CheckContext<'_>,
    ) -> Option<ListenerConfig> {
        let tls = self
            .tls
            .written()
            .and_then(|(tls, span)| tls.check(span, context));
        let trusted_peers = self.trusted_peers(context);
        let proxy_protocol = self.proxy_protocol.get() == Some(&ProxyProtocol::V1V2);
        if proxy_protocol && !self.trusted_peers.is_written() {
            let message =
                "PROXY headers are believed from `trusted_peers` only, and there are none";
            let help = "name the networks of the load balancer: trusted_peers = [\"10.0.0.0/8\"]";
            let place = self.proxy_protocol.place(span);
            context.error("proxy-without-trusted-peers", place, message, help);
        }
        let address = self.address.required("address", span, context.findings);
        Some(ListenerConfig {
            address: socket_address(address, context)?,
            tls,
            trusted_peers,
            proxy_protocol,
            timeouts: self.timeouts.section(|own, _| own.check(timeouts)),
        })
    }

    fn trusted_peers(&self, context: &CheckContext<'_>) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for (peer, span) in self.trusted_peers.items() {
            match value::peers(peer) {
                Some(peers) => networks.extend(peers),
                None => {
                    let message = format!("`{peer}` is not a network");
                    let help =
                        "write \"10.0.0.0/8\", \"2001:db8::/32\", an address, or \"loopback\"";
                    context.error("bad-cidr", span, message, help);
                }
            }
        }
        networks
    }
}

impl TlsChoice {
    fn check(&self, span: Span, context: &CheckContext<'_>) -> Option<TlsConfig> {
        let tls = match self {
            Self::One(section) => section.check(span, context)?,
            Self::Several(sections) => TlsConfig {
                certificates: certificates(sections, context),
                client_ca: None,
            },
        };
        if tls.certificates.is_empty() {
            let help = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
            context.error("bad-tls", span, "TLS without a certificate", help);
        }
        Some(tls)
    }
}

impl TlsSection {
    fn check(&self, span: Span, context: &CheckContext<'_>) -> Option<TlsConfig> {
        let client_ca = context.path(&self.client_ca);
        // Each may have its own problem, also where the other is missing.
        let (cert, key) = (context.path(&self.cert), context.path(&self.key));
        let several = self
            .certs
            .get()
            .map(|several| certificates(several, context));
        let pair = (self.cert.is_written(), self.key.is_written());
        let certificates = match (self.certs.is_written(), pair) {
            (true, (false, false)) => several.unwrap_or_default(),
            (false, (true, true)) => {
                let pair = cert.zip(key);
                pair.map(|(cert, key)| CertificateFiles { cert, key })
                    .into_iter()
                    .collect()
            }
            (true, _) => {
                let message = "`certs` stands instead of `cert` and `key`";
                let help = "move this certificate into `certs`; the first is the default";
                context.error("bad-tls", span, message, help);
                return None;
            }
            (false, _) => {
                let message = "a certificate needs both `cert` and `key`";
                let help = "tls = { cert = \"tls.crt\", key = \"tls.key\" }";
                context.error("bad-tls", span, message, help);
                return None;
            }
        };
        Some(TlsConfig {
            certificates,
            client_ca,
        })
    }
}

fn certificates(
    sections: &[Field<CertificateSection>],
    context: &CheckContext<'_>,
) -> Vec<CertificateFiles> {
    let files = sections.iter().filter_map(|field| {
        let (section, span) = field.written()?;
        // Both are read before either is missed: each may have its own problem.
        let cert = section.cert.required("cert", span, context.findings);
        let key = section.key.required("key", span, context.findings);
        let (cert, key) = (context.path(cert), context.path(key));
        Some(CertificateFiles {
            cert: cert?,
            key: key?,
        })
    });
    files.collect()
}
