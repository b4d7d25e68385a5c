//! From text to a [`Config`]: every problem at once, each with its place.

mod check;
mod expand;
mod effective;
mod fields;
mod keys;
mod load;
pub mod problem;
pub mod problems;
mod reference;
mod render;
mod schema;
mod source;
mod tree;
mod value;

pub use effective::effective;
pub use load::load;
pub use reference::reference;
pub use schema::schema;
pub use source::{Reader, SourceText};
pub use value::duration;

pub use crate::table::failback::{FailbackConfig, FailbackMode};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::problem::{Problem, Span};
use crate::config::problems::Problems;
use crate::model::id::RouteId;
use crate::model::viewer::UnknownViewer;
use crate::table::RoutingTable;

/// A whole configuration, checked. Files it names (certificates, databases) are not opened yet.
#[derive(Debug)]
pub struct Config {
    /// What this proxy calls itself in header fields.
    pub name: String,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// Where viewers connect.
    pub listeners: Vec<ListenerConfig>,
    /// Where operators connect.
    pub admin: AdminConfig,
    /// How to learn where a viewer is.
    pub viewer: ViewerConfig,
    /// Regions and routes.
    pub table: std::sync::Arc<RoutingTable>,
    /// LimitsConfig that hold everywhere.
    pub limits: LimitsConfig,
    /// How names are resolved.
    pub dns: DnsConfig,
    /// How to leave.
    pub drain: DrainConfig,
    /// One JSON line per request.
    pub access_log: AccessLogConfig,
    /// How traffic returns to a region that is well again.
    pub failback: FailbackConfig,
    /// The same for the routes that write their own.
    pub route_failback: BTreeMap<RouteId, FailbackConfig>,
    /// What survives a restart.
    pub state: StateConfig,
    /// Every file that was read, the main one first: what to watch, and the text for carets.
    pub sources: Vec<SourceText>,
    /// Where each file that the configuration names (certificate, key, database) was written.
    pub named_files: BTreeMap<PathBuf, Span>,
    /// What is worth a warning.
    pub warnings: Vec<Problem>,
    /// Hash of the text of all files, to name a generation.
    pub content_hash: u64,
}

impl Config {
    /// Problems that a later step found in what the configuration names, such as an unreadable
    /// certificate; the place of each file is in [`Config::named_files`].
    #[must_use]
    pub fn problems(&self, list: Vec<Problem>) -> Problems {
        Problems::new(self.sources.clone(), list)
    }

    /// What is worth a warning, each with its line and caret; empty when there is none. `color`
    /// adds ANSI colours.
    #[must_use]
    pub fn render_warnings(&self, color: bool) -> String {
        if self.warnings.is_empty() {
            String::new()
        } else {
            self.problems(self.warnings.clone()).render(color)
        }
    }
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// Time limits towards the viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownstreamTimeouts {
    /// The viewer's TLS handshake, and the PROXY header before it.
    pub handshake: Duration,
    /// A whole request head.
    pub head: Duration,
    /// A body that stands still, either way.
    pub body_progress: Duration,
    /// A connection between requests.
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

/// Where operators connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The address to bind; `None`: no admin.
    pub address: Option<SocketAddr>,
    /// Required from every caller when the address is not a loopback one.
    pub token: Option<Secret>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

/// How to learn where a viewer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerConfig {
    /// Headers that carry a country code, believed from trusted peers only; lower case.
    pub country_headers: Vec<String>,
    /// The user's own MMDB.
    pub geoip: Option<PathBuf>,
    /// What to do when no source knows.
    pub unknown: UnknownViewer,
}

/// Bounds that hold everywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitsConfig {
    /// Bytes of one head, either way.
    pub header_bytes: usize,
    /// Fields of one head.
    pub header_fields: usize,
    /// Viewers' connections of one worker.
    pub connections_per_worker: usize,
    /// Bytes of one request body kept to send it again.
    pub replay_bytes: usize,
    /// Bytes of all such bodies together.
    pub replay_total_bytes: usize,
    /// Retries as a share of requests, per destination region, 0 to 1.
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

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsConfig {
    /// Servers to ask; empty: the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// An answer is kept at least this long, whatever its TTL.
    pub min_ttl: Duration,
    /// An answer is asked for again after this long, whatever its TTL.
    pub max_ttl: Duration,
    /// How long the last good answer is used while none comes.
    pub keep_last_good: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(60),
            keep_last_good: Duration::from_secs(24 * 3600),
        }
    }
}

/// How to leave without dropping a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainConfig {
    /// From `/readyz` answering 503 to the listeners closing.
    pub delay: Duration,
    /// From there to the process's end at the latest.
    pub timeout: Duration,
}

impl Default for DrainConfig {
    /// Together below the 30 s that ECS and Kubernetes wait before they kill.
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(5),
            timeout: Duration::from_secs(20),
        }
    }
}

/// One JSON line per request.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessLogConfig {
    /// Whether to write it at all.
    pub enabled: bool,
    /// Share of successful requests to write, 0 to 1; failovers and errors are always written.
    pub sample: f64,
    /// A file to append to; `None`: standard output.
    pub path: Option<PathBuf>,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sample: 1.0,
            path: None,
        }
    }
}

/// What survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateConfig {
    /// A directory to keep it in; `None`: memory only.
    pub dir: Option<PathBuf>,
    /// Where that was written.
    pub written: Option<Span>,
}
