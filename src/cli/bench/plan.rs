//! What is to be done, and how it can fail as a whole.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderName, Method};

use crate::cli::bench::destination::Destination;
use crate::cli::bench::fault::{FaultKind, RequestFault};
use crate::cli::bench::mix::CountryMix;
use crate::cli::bench::tally::LoadTally;
use crate::cli::bench::template::{HeaderField, method};
use crate::cli::failure::Failure;
use crate::cli::time::time;

/// What is to be done, as the flags say.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// Where to: http://HOST[:PORT][/PATH] or https://...
    #[arg(value_name = "URL")]
    pub(super) destination: Destination,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) rate: u32,
    /// How long; Ctrl-C ends it earlier
    #[arg(long = "for", alias = "duration", value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(super) length: Duration,
    /// Connections, kept and opened again when they close
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) connections: u32,
    /// Speak HTTP/2: over TLS by ALPN, without TLS by prior knowledge
    #[arg(long)]
    pub(super) http2: bool,
    /// Requests at a time on each connection of HTTP/2
    #[arg(long, value_name = "N", default_value_t = 1, requires = "http2", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) streams: u32,
    /// The viewers' countries by weight: world, eu (as many people use the Internet there), or a
    /// list such as DE=30,JP=20,US=50. Sent as CloudFront-Viewer-Country
    #[arg(long, value_name = "MIX", value_parser = CountryMix::parse)]
    pub(super) country_mix: Option<CountryMix>,
    /// Another number gives other viewers, the same number the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
    /// How to ask
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    pub(super) method: Method,
    /// A header of each request; may be given more than once
    #[arg(long = "header", value_name = "'KEY: VALUE'", value_parser = HeaderField::parse)]
    pub(super) headers: Vec<HeaderField>,
    /// Bytes of each request's body
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    pub(super) body_size: u32,
    /// When a request is given up, counted from when it was due
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(super) timeout: Duration,
    /// Requests that may wait for a connection
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub(super) queue: u32,
    /// Whom to trust instead of the system's authorities
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub(super) ca: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long)]
    pub(super) insecure: bool,
    /// The answer's header that names the region which served
    #[arg(long, value_name = "NAME", default_value = "x-demo-region")]
    pub(super) region_header: HeaderName,
    /// Threads that send; one sends tens of thousands of requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) threads: u16,
}

impl Plan {
    /// Requests that can be under way at a time.
    pub(super) fn places(&self) -> u64 {
        u64::from(self.connections) * u64::from(self.streams)
    }

    /// Threads that send; each has one connection at least.
    pub(super) fn threads(&self) -> usize {
        usize::from(self.threads).min(self.connections as usize)
    }

    /// The version that is spoken.
    pub(super) fn protocol(&self) -> &'static str {
        if self.http2 { "HTTP/2" } else { "HTTP/1.1" }
    }

    /// In one line.
    pub(super) fn summary(&self) -> String {
        let mut text = format!(
            "{} {}, {} requests a second for {:?}, {}, {} connections",
            self.method,
            self.destination,
            self.rate,
            self.length,
            self.protocol(),
            self.connections
        );
        if self.streams > 1 {
            text.push_str(&format!(" of {} streams", self.streams));
        }
        text
    }

    /// No connection could be opened.
    pub(super) fn unreachable(&self, fault: Option<RequestFault>) -> Failure {
        let why = fault.map_or_else(|| "no thread could run".to_owned(), |fault| fault.text);
        Failure::Failed(format!("cannot connect to {}: {why}", self.destination))
    }

    /// Nothing was answered: the commonest reason, and what to look at.
    pub(super) fn unanswered(&self, tally: &LoadTally) -> Failure {
        let most = tally.faults.iter().max_by_key(|(_, fault)| fault.count);
        let Some((kind, fault)) = most else {
            let text = "nothing was answered: no request ended";
            return Failure::Failed(text.to_owned());
        };
        // Both sides speak, but not the same.
        let is_strange = matches!(kind, FaultKind::NotHttp | FaultKind::Closed);
        let advice = match (self.destination.is_tls, self.http2) {
            (false, true) if is_strange => {
                " (does it speak HTTP/2 without TLS? try without --http2)"
            }
            (false, false) if is_strange => {
                " (is it HTTP/1.1 without TLS? try https:// or --http2)"
            }
            _ => "",
        };
        let why = format!("{} x {}", fault.count, fault.first);
        Failure::Failed(format!("nothing was answered: {why}{advice}"))
    }
}
