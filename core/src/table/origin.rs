//! A region and the service as deployed in it.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::place::Place;
use crate::table::written::Written;

/// A named place and the service deployed there.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// The operator's name for it.
    pub name: Arc<str>,
    /// The service there, as one or more URLs.
    pub origins: Vec<Origin>,
    /// How to speak to the origins.
    pub upstream: UpstreamSpec,
    /// Where it stands, for the `geo` policy.
    pub place: Option<Place>,
    /// What to ask to learn whether it is well.
    pub probe: ProbeSpec,
    /// Where it was written.
    pub written: Written,
}

impl Region {
    /// Whether connections made for `other` may serve this region: same origins, spoken to alike.
    #[must_use]
    pub fn shares_connections_with(&self, other: &Self) -> bool {
        self.origins == other.origins && self.upstream == other.upstream
    }
}

/// One URL of the service in a region.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `https` or `http`.
    pub tls: bool,
    /// A name to resolve, or an address.
    pub host: OriginHost,
    /// The port, 443 or 80 unless written.
    pub port: u16,
}

impl Origin {
    /// `host:port` as a `Host` field would carry it: without the scheme's own port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match &self.host {
            OriginHost::Name(name) => name.to_string(),
            OriginHost::Address(IpAddr::V6(address)) => format!("[{address}]"),
            OriginHost::Address(IpAddr::V4(address)) => address.to_string(),
        };
        let default_port = if self.tls { 443 } else { 80 };
        if self.port == default_port {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The URL as it would be written.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.authority()
        )
    }
}

/// The host part of an origin's URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginHost {
    /// Resolved by DNS, continuously.
    Name(Arc<str>),
    /// Dialled as it is.
    Address(IpAddr),
}

/// How to speak to the origins of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
    /// The name to ask for (SNI) and to verify, instead of the URL's host.
    pub server_name: Option<String>,
    /// Our own certificate and key, when the origin asks for one.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// What `Host` the origin gets.
    pub host: HostField,
    /// Which HTTP version to speak.
    pub http: UpstreamHttp,
}

impl UpstreamSpec {
    /// Whether TLS set up for `other` serves here too: the same trust, the same certificate of
    /// ours, the same protocols offered.
    #[must_use]
    pub fn trusts_like(&self, other: &Self) -> bool {
        self.ca == other.ca
            && self.client_certificate == other.client_certificate
            && self.http == other.http
    }
}

/// What `Host` (`:authority`) an origin gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostField {
    /// The viewer's, as Envoy, HAProxy and Caddy do.
    #[default]
    Viewer,
    /// The origin URL's.
    Origin,
    /// Always this.
    Fixed(String),
}

/// Which HTTP version to speak to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpstreamHttp {
    /// HTTP/1.1: one request at a time per connection, the pool takes care.
    #[default]
    #[serde(rename = "1.1")]
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge over plain TCP.
    #[serde(rename = "2")]
    Http2,
    /// Over TLS what the origin picks of both by ALPN, else HTTP/1.1.
    #[serde(rename = "auto")]
    Auto,
}

/// What to ask an endpoint, how often, and what a good answer is.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ProbeSpec {
    /// Path and query of the GET.
    pub path: String,
    /// The `Host` of the probe. Absent: the origin URL's.
    pub host: Option<String>,
    /// Time between probes of one endpoint; each gap varies by 20 % either way.
    pub interval: Duration,
    /// The same while the endpoint's state is changing; at most `interval`.
    pub fast_interval: Duration,
    /// For one whole probe.
    pub timeout: Duration,
    /// Status codes that pass.
    pub status: (u16, u16),
    /// Text the body must contain.
    pub text: Option<String>,
    /// JSON fields of the body and the value each must have: `{ status = "healthy", "checks.*" =
    /// "ok" }`; a `*` step stands for every member.
    pub json: Vec<(String, serde_json::Value)>,
    /// The JSON field, by dotted path, that must name this region: an answer of another region
    /// fails. Absent: not checked.
    pub region_field: Option<String>,
    /// Failures in a row until unhealthy.
    pub fall: u32,
    /// Successes in a row until healthy.
    pub rise: u32,
}

impl Default for ProbeSpec {
    fn default() -> Self {
        Self {
            path: "/health".to_owned(),
            host: None,
            interval: Duration::from_secs(5),
            fast_interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            status: (200, 299),
            text: None,
            json: Vec::new(),
            region_field: None,
            fall: 3,
            rise: 2,
        }
    }
}
