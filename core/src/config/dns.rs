//! `[dns]`: how names of origins are resolved.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::TimeSpan;
use crate::config::value;

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DnsConfig {
    /// Servers to ask, port 53 unless written: `"10.0.0.2"`, `"10.0.0.2:5353"`. Empty: the
    /// system's.
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

/// How names of origins are resolved.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<DnsConfig>)]
pub(super) struct DnsSection {
    servers: Field<Vec<Field<String>>>,
    min_ttl: Field<TimeSpan<1>>,
    max_ttl: Field<TimeSpan<1>>,
    keep_last_good: Field<TimeSpan<0>>,
}

impl DnsSection {
    pub(super) fn check(&self, span: Span, context: &CheckContext<'_>) -> DnsConfig {
        let default = DnsConfig::default();
        let mut servers = Vec::new();
        for (server, span) in self.servers.items() {
            match value::address_or_port(server, 53) {
                Some(address) => servers.push(address),
                None => {
                    let message = format!("`{server}` is not an address");
                    let help = "write an address, with a port unless it is 53: \"10.0.0.2:5353\"";
                    context.error("bad-address", span, message, help);
                }
            }
        }
        let dns = DnsConfig {
            servers,
            min_ttl: self.min_ttl.or(default.min_ttl),
            max_ttl: self.max_ttl.or(default.max_ttl),
            keep_last_good: self.keep_last_good.or(default.keep_last_good),
        };
        if dns.min_ttl > dns.max_ttl {
            let message = format!(
                "`min_ttl` ({:?}) is longer than `max_ttl` ({:?})",
                dns.min_ttl, dns.max_ttl
            );
            let place = self.min_ttl.place(self.max_ttl.place(span));
            context.error("bad-order", place, message, "swap them");
        }
        dns
    }
}
