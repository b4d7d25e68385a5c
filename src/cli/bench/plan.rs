//! What is to be done, and how it can fail as a whole.

use std::time::Duration;

use http::Method;

use crate::cli::bench::destination::Destination;
use crate::cli::bench::fault::{FaultKind, RequestFault};
use crate::cli::bench::mix::CountryMix;
use crate::cli::bench::tally::LoadTally;
use crate::cli::failure::Failure;

/// What is to be done, as the flags say.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) destination: Destination,
    pub(super) method: Method,
    pub(super) rate: u32,
    pub(super) length: Duration,
    pub(super) connections: usize,
    pub(super) streams: usize,
    pub(super) threads: usize,
    pub(super) is_http2: bool,
    pub(super) timeout: Duration,
    pub(super) queue: usize,
    pub(super) mix: Option<CountryMix>,
    pub(super) seed: u64,
}

impl Plan {
    /// Requests that can be under way at a time.
    pub(super) fn places(&self) -> usize {
        self.connections * self.streams
    }

    /// The version that is spoken.
    pub(super) fn protocol(&self) -> &'static str {
        if self.is_http2 { "HTTP/2" } else { "HTTP/1.1" }
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
        let advice = match (self.destination.is_tls, self.is_http2) {
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
