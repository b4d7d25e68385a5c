//! Opens connections to the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::cli::bench::destination::Destination;
use crate::cli::bench::fault::{FaultKind, RequestFault};
use crate::cli::bench::plan::Plan;
use crate::cli::bench::trust::indifferent;
use crate::cli::failure::Failure;
use crate::upstream::connect::{DialError, DialTarget, UpstreamStream, dial};
use crate::upstream::tls::client_config;
use meridian_core::table::origin::{UpstreamHttp, UpstreamSpec};

/// Where to connect, and how; workers have a clone each.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    targets: Vec<DialTarget>,
    is_http2: bool,
    timeout: Duration,
    opened: Arc<AtomicU64>,
}

impl Dialer {
    /// Finds the server's addresses, once, and reads what TLS needs.
    ///
    /// # Errors
    /// When it has none, or the file of authorities cannot be used.
    pub(super) fn new(plan: &Plan) -> Result<Self, Failure> {
        let (destination, is_http2) = (&plan.destination, plan.http2);
        let tls = match destination.is_tls {
            true => Some((tls(plan)?, server_name(destination)?)),
            false => None,
        };
        let targets = addresses(destination)?
            .into_iter()
            .map(|address| DialTarget {
                address,
                tls: tls.clone(),
                prior_knowledge: is_http2 && tls.is_none(),
            });
        Ok(Self {
            targets: targets.collect(),
            is_http2,
            timeout: plan.timeout,
            opened: Arc::default(),
        })
    }

    /// A fresh connection to the first address that takes one.
    pub(super) async fn dial(&self) -> Result<UpstreamStream, RequestFault> {
        let mut last = DialError::Refused;
        for target in &self.targets {
            match dial(target, self.timeout).await {
                Ok(dialed) if self.is_http2 && !dialed.http2 => {
                    let text = "the server did not agree to HTTP/2 (leave out --http2)";
                    return Err(RequestFault::new(FaultKind::TlsFailed, text));
                }
                Ok(dialed) => {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    return Ok(dialed.stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// How many connections were opened so far, by this one and those cloned from it.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }
}

fn addresses(destination: &Destination) -> Result<Vec<SocketAddr>, Failure> {
    let host = &destination.host;
    let unknown = |why: &str| {
        Failure::Failed(format!(
            "cannot find an address of {host}: {why} (is the name right, and can this machine \
             look it up?)"
        ))
    };
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), destination.port))
        .map_err(|error: io::Error| unknown(&error.to_string()))?;
    let found: Vec<_> = found.collect();
    match found.is_empty() {
        true => Err(unknown("it has none")),
        false => Ok(found),
    }
}

fn server_name(destination: &Destination) -> Result<ServerName<'static>, Failure> {
    let host = destination.host.clone();
    ServerName::try_from(host).map_err(|_| {
        let host = &destination.host;
        Failure::Usage(format!("{host} is no name that a certificate can be for"))
    })
}

fn tls(plan: &Plan) -> Result<Arc<ClientConfig>, Failure> {
    if plan.insecure {
        return indifferent(plan.http2)
            .map_err(|error| Failure::Failed(format!("TLS settings refused: {error}")));
    }
    let spec = UpstreamSpec {
        ca: plan.ca.clone(),
        http: match plan.http2 {
            true => UpstreamHttp::Http2,
            false => UpstreamHttp::Http1,
        },
        ..UpstreamSpec::default()
    };
    client_config(&spec).map_err(|error| {
        let advice = "--ca wants a PEM file of certificates";
        match error.path() {
            Some(_) => Failure::Failed(format!("{error} ({advice})")),
            None => Failure::Failed(error.to_string()),
        }
    })
}
