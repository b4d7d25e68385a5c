//! The DNS client: which servers are asked, and how long each question may take.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};

use meridian_core::config::DnsConfig;

/// One query to one server; with two attempts a dead server costs four seconds, and the last good
/// answer serves meanwhile.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
const QUERY_ATTEMPTS: usize = 2;

/// A resolver for `dns.servers`, or for the system's settings where none are written. Both read
/// the system's hosts file first.
pub(super) fn resolver(dns: &DnsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if dns.servers.is_empty() {
        TokioResolver::builder_tokio().unwrap_or_else(|error| {
            // As the C library does: without settings there may be a server on this machine, and
            // there is the hosts file.
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
            tracing::warn!(%error, server = %local, "the system names no DNS server");
            asking(&[local])
        })
    } else {
        asking(&dns.servers)
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_ATTEMPTS;
    builder.build()
}

fn asking(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let servers = servers.iter().map(name_server).collect();
    TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(servers),
        TokioRuntimeProvider::default(),
    )
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    // An NXDOMAIN of the first server is an answer: asking the others only delays it.
    NameServerConfig::new(address.ip(), true, connections)
}
