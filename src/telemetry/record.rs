//! What happened to one request: plain data, filled on the way, written once at the end.
//!
//! It is never read to decide anything.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};

use meridian_core::decide::Rule;
use meridian_core::model::country::Country;
use meridian_core::model::id::{RegionId, RouteId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::viewer::ViewerSource;

/// Attempts a record keeps: the eight a route may allow, and one for a connection that turned
/// out to be closed.
pub const MAX_ATTEMPTS: usize = 9;

/// How one attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// A response head with this status.
    Answered(u16),
    /// No answer that could be used.
    Failed(ErrorKind),
    /// Given up because another region answered first.
    Overtaken,
    /// The rest of a body that another attempt had begun, with this status.
    Resumed(u16),
    /// An answer with this status to a request for the rest of a body, and not just that rest.
    Unfit(u16),
}

/// One try at one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The region.
    pub region: RegionId,
    /// The address dialled; `None` where there was none to dial.
    pub endpoint: Option<SocketAddr>,
    /// Whether it was sent because another attempt was late.
    pub hedge: bool,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// TCP and TLS together; `None` on a reused connection.
    pub connect: Option<Duration>,
    /// From sending the request to the response head.
    pub first_byte: Option<Duration>,
}

/// All that is told about one request. Numbers of routes and regions are those of the table it
/// was decided on; the names are looked up when it is written.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// When the head was read, since 1970-01-01 UTC.
    pub at: Duration,
    /// The trace the request belongs to.
    pub trace_id: u128,
    /// A trusted peer's own id; `None`: the trace id stands for it.
    pub request_id: Option<HeaderValue>,
    /// The viewer's address, as far as it is believed.
    pub client: IpAddr,
    /// Who connected.
    pub peer: SocketAddr,
    /// Method of the request.
    pub method: Method,
    /// `https` or `http`, as the viewer spoke.
    pub https: bool,
    /// Host asked for, with its port if one was given.
    pub host: Option<HeaderValue>,
    /// Path; the query is not written, it may hold secrets.
    pub path: Option<PathAndQuery>,
    /// HTTP version of the viewer's side.
    pub version: Version,
    /// Status sent; `None`: the viewer left first.
    pub status: Option<u16>,
    /// Body bytes from the viewer.
    pub bytes_in: u64,
    /// Body bytes to the viewer.
    pub bytes_out: u64,
    /// From the head to the last byte of the response.
    pub duration: Duration,
    /// From the head to the response head; `None` where there was none.
    pub first_byte: Option<Duration>,
    /// The viewer's country, if it was learned.
    pub country: Option<Country>,
    /// Where it was learned.
    pub source: ViewerSource,
    /// The route; `None`: no route took it.
    pub route: Option<RouteId>,
    /// The region whose answer was sent.
    pub region: Option<RegionId>,
    /// Why the first region was first.
    pub rule: Option<Rule>,
    /// The error type (RFC 9209) where the answer is our own.
    pub error: Option<&'static str>,
    /// Version of the viewer's TLS, such as `TLSv1.3`.
    pub tls_version: Option<&'static str>,
    /// Generation of the table it was decided on.
    pub generation: u64,
    /// Most requests have one attempt: it needs no memory of its own.
    first_attempt: Option<AttemptRecord>,
    further_attempts: Vec<AttemptRecord>,
    attempts_made: u16,
}

impl RequestRecord {
    /// The record of a request that has just begun, `at` since 1970-01-01 UTC.
    #[must_use]
    pub fn begin(at: Duration, peer: SocketAddr, method: Method, version: Version) -> Self {
        Self {
            at,
            trace_id: 0,
            request_id: None,
            client: peer.ip(),
            peer,
            method,
            https: false,
            host: None,
            path: None,
            version,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            first_byte: None,
            country: None,
            source: ViewerSource::Unknown,
            route: None,
            region: None,
            rule: None,
            error: None,
            tls_version: None,
            generation: 0,
            first_attempt: None,
            further_attempts: Vec::new(),
            attempts_made: 0,
        }
    }

    /// Adds an attempt. Beyond [`MAX_ATTEMPTS`] only the count goes up.
    pub fn attempted(&mut self, attempt: AttemptRecord) {
        if self.first_attempt.is_none() {
            self.first_attempt = Some(attempt);
        } else if self.further_attempts.len() + 1 < MAX_ATTEMPTS {
            self.further_attempts.push(attempt);
        }
        self.attempts_made = self.attempts_made.saturating_add(1);
    }

    /// The attempts kept, in order.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRecord> {
        self.first_attempt.iter().chain(&self.further_attempts)
    }

    /// The attempt whose answer was sent; where none was, the last one.
    pub(super) fn answering(&self) -> Option<&AttemptRecord> {
        let sent = |attempt: &&AttemptRecord| {
            Some(attempt.region) == self.region
                && matches!(attempt.outcome, AttemptOutcome::Answered(_))
        };
        self.attempts()
            .filter(sent)
            .last()
            .or_else(|| self.attempts().last())
    }

    /// Whether sampling must keep it: refused, failed, failed over, or left by the viewer.
    #[must_use]
    pub fn is_notable(&self) -> bool {
        self.error.is_some() || self.attempts_made > 1 || self.status.is_none_or(|code| code >= 500)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::table::RoutingTable;

    fn record() -> RequestRecord {
        let peer = "192.0.2.7:4711".parse().unwrap();
        let at = Duration::from_micros(1_700_000_000_123_456);
        RequestRecord::begin(at, peer, Method::GET, Version::HTTP_2)
    }

    fn json(record: &RequestRecord) -> (String, serde_json::Value) {
        let mut out = Vec::new();
        record.write_json(&RoutingTable::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn a_line_has_the_documented_fields() {
        let mut record = record();
        record.status = Some(200);
        record.path = Some(PathAndQuery::from_static("/v1/x?token=secret"));
        record.duration = Duration::from_micros(12_345);
        record.attempted(AttemptRecord {
            region: RegionId(0),
            endpoint: Some("127.0.0.1:80".parse().unwrap()),
            hedge: false,
            outcome: AttemptOutcome::Failed(ErrorKind::ConnectRefused),
            connect: None,
            first_byte: None,
        });
        let (text, value) = json(&record);
        assert!(!text.contains("secret"));
        assert_eq!(value["ts"], 1_700_000_000.123_456);
        assert_eq!(value["path"], "/v1/x");
        assert_eq!(value["duration_ms"], 12.345);
        assert_eq!(value["request_id"], value["trace_id"]);
        assert_eq!(value["attempts"][0]["outcome"], "connect_refused");
    }

    #[test]
    fn nothing_a_viewer_sends_can_split_a_line() {
        let mut record = record();
        record.host = HeaderValue::from_bytes(b"a\tb\xc2\x85c\xe2\x80\xa8d\"\\\xff").ok();
        record.request_id = HeaderValue::from_bytes(b"\xc2\x85").ok();
        let (text, value) = json(&record);
        assert_eq!(text.lines().count(), 1);
        let controls = |c: char| c.is_control() || c == '\u{2028}';
        assert!(!text.trim_end().contains(controls), "{text}");
        assert!(
            value["host"]
                .as_str()
                .unwrap()
                .starts_with("a\tb\u{85}c\u{2028}d\"\\")
        );
    }

    #[test]
    fn a_record_stays_small_enough_to_live_in_a_request() {
        assert!(
            size_of::<RequestRecord>() <= 480,
            "{}",
            size_of::<RequestRecord>()
        );
    }

    #[test]
    fn failures_and_failovers_are_notable() {
        let mut record = record();
        assert!(record.is_notable(), "the viewer left first");
        record.status = Some(404);
        assert!(!record.is_notable());
        record.error = Some("destination_not_found");
        assert!(record.is_notable());
    }
}
