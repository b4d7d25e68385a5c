//! What happened to one request: plain data, filled on the way, written once at the end.
//!
//! It is never read to decide anything.

use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use serde::Serialize;
use serde::ser::Serializer;

use crate::decide::Rule;
use crate::model::country::Country;
use crate::model::id::{RegionId, RouteId};
use crate::model::outcome::ErrorKind;
use crate::model::viewer::ViewerSource;
use crate::table::RoutingTable;

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
    fn answering(&self) -> Option<&AttemptRecord> {
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

    /// Writes it as one line of JSON, line feed included. `table` is the one it was decided on.
    ///
    /// No character in it can end the line early: control characters are escaped, as are the
    /// line separators of Unicode.
    pub fn write_json(&self, table: &RoutingTable, out: &mut Vec<u8>) {
        let start = out.len();
        let line = self.line(table);
        let mut serializer = serde_json::Serializer::with_formatter(&mut *out, OneLine);
        if line.serialize(&mut serializer).is_err() {
            // Nothing in a line can fail to serialise; half a line would still be worse than none.
            out.truncate(start);
            return;
        }
        out.push(b'\n');
    }

    fn line<'a>(&'a self, table: &'a RoutingTable) -> Line<'a> {
        let region_name = |id: RegionId| table.regions.get(id.index()).map(|r| r.name.as_ref());
        let text = |value: &'a HeaderValue| String::from_utf8_lossy(value.as_bytes());
        Line {
            // Microseconds are exact in a double until the year 2255.
            ts: self.at.as_micros() as f64 / 1e6,
            request_id: self
                .request_id
                .as_ref()
                .map_or_else(|| self.trace().into(), text),
            trace_id: self.trace(),
            client_ip: self.client,
            peer_ip: self.peer.ip(),
            method: self.method.as_str(),
            scheme: if self.https { "https" } else { "http" },
            host: self.host.as_ref().map(text),
            path: self.path.as_ref().map(PathAndQuery::path),
            protocol: protocol(self.version),
            status: self.status,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration_ms: millis(self.duration),
            ttfb_ms: self.first_byte.map(millis),
            country: self.country.as_ref().map(Country::as_str),
            geo_source: self.source.label(),
            route: self
                .route
                .and_then(|id| table.routes.get(id.index()))
                .map(|r| r.name.as_ref()),
            region: self.region.and_then(region_name),
            endpoint: self.answering().and_then(|attempt| attempt.endpoint),
            attempts: Attempts {
                record: self,
                table,
            },
            reason: self.rule.map(Rule::label),
            error: self.error,
            tls_version: self.tls_version,
            config_generation: self.generation,
        }
    }

    fn trace(&self) -> String {
        format!("{:032x}", self.trace_id)
    }
}

/// The fields of a line, in their order.
#[derive(Serialize)]
struct Line<'a> {
    ts: f64,
    request_id: Cow<'a, str>,
    trace_id: String,
    client_ip: IpAddr,
    peer_ip: IpAddr,
    method: &'a str,
    scheme: &'static str,
    host: Option<Cow<'a, str>>,
    path: Option<&'a str>,
    protocol: &'static str,
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
    duration_ms: f64,
    ttfb_ms: Option<f64>,
    country: Option<&'a str>,
    geo_source: &'static str,
    route: Option<&'a str>,
    region: Option<&'a str>,
    endpoint: Option<SocketAddr>,
    attempts: Attempts<'a>,
    reason: Option<&'static str>,
    error: Option<&'static str>,
    tls_version: Option<&'static str>,
    config_generation: u64,
}

struct Attempts<'a> {
    record: &'a RequestRecord,
    table: &'a RoutingTable,
}

impl Serialize for Attempts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.record.attempts().map(|attempt| {
            let (outcome, status) = match attempt.outcome {
                AttemptOutcome::Answered(status) => ("answered", Some(status)),
                AttemptOutcome::Failed(kind) => (kind.label(), None),
                AttemptOutcome::Overtaken => ("overtaken", None),
                AttemptOutcome::Resumed(status) => ("resumed", Some(status)),
                AttemptOutcome::Unfit(status) => ("unfit", Some(status)),
            };
            AttemptLine {
                region: self
                    .table
                    .regions
                    .get(attempt.region.index())
                    .map(|r| r.name.as_ref()),
                endpoint: attempt.endpoint,
                hedge: attempt.hedge,
                outcome,
                status,
                connect_ms: attempt.connect.map(millis),
                first_byte_ms: attempt.first_byte.map(millis),
            }
        }))
    }
}

#[derive(Serialize)]
struct AttemptLine<'a> {
    region: Option<&'a str>,
    endpoint: Option<SocketAddr>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    hedge: bool,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
}

fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// The name of a version as HTTP writes it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// Compact JSON that also escapes what JSON allows but readers of lines trip over: DEL, the C1
/// controls (one of them is a line break) and Unicode's line and paragraph separators.
struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|byte| byte < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        for character in fragment.chars() {
            match character {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                    write!(writer, "\\u{:04x}", u32::from(character))?;
                }
                other => write!(writer, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let nasty = "a\tb\u{85}c\u{2028}d\u{7f}\"\\";
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
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
        nasty.serialize(&mut serializer).unwrap();
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), nasty);
    }

    #[test]
    fn a_record_stays_small_enough_to_live_in_a_request() {
        assert!(
            size_of::<RequestRecord>() <= 1280,
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
