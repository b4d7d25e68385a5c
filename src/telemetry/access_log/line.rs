//! The line that the access log has of a request: its fields and their order.

use http::uri::PathAndQuery;
use http::{HeaderValue, Version};

use crate::telemetry::json::Json;
use crate::telemetry::record::{AttemptOutcome, AttemptRecord, RequestRecord};
use meridian_core::decide::Rule;
use meridian_core::model::country::Country;
use meridian_core::model::id::RegionId;
use meridian_core::table::RoutingTable;

/// Room for all of a usual line but what the viewer chose the length of: names of fields take
/// 350 bytes, an attempt about 150.
pub(super) const USUAL_LINE: usize = 1 << 10;

impl RequestRecord {
    /// Writes it as one line of JSON, line feed included. `table` is the one it was decided on.
    pub fn write_json(&self, table: &RoutingTable, out: &mut Vec<u8>) {
        let mut json = Json::at_end_of(out, USUAL_LINE + self.viewers_length());
        self.write_request(&mut json);
        self.write_answer(table, &mut json);
        json.raw(b"}\n");
    }

    /// How long the texts are that a viewer sent, before anything in them is escaped.
    fn viewers_length(&self) -> usize {
        let length = |value: &Option<HeaderValue>| value.as_ref().map_or(0, HeaderValue::len);
        let path = self.path.as_ref().map_or(0, |path| path.path().len());
        length(&self.request_id) + length(&self.host) + path
    }

    fn write_request(&self, json: &mut Json<'_>) {
        json.field(br#"{"ts":"#, self.at, Json::seconds);
        match &self.request_id {
            Some(id) => json.field(br#","request_id":"#, id.as_bytes(), Json::text),
            None => json.field(br#","request_id":"#, self.trace_id, Json::hex),
        }
        json.field(br#","trace_id":"#, self.trace_id, Json::hex);
        json.field(br#","client_ip":"#, self.client, Json::ip);
        json.field(br#","peer_ip":"#, self.peer.ip(), Json::ip);
        json.field(br#","method":"#, self.method.as_str(), Json::word);
        json.raw(if self.https {
            br#","scheme":"https""#
        } else {
            br#","scheme":"http""#
        });
        let host = self.host.as_ref().map(HeaderValue::as_bytes);
        json.nullable(br#","host":"#, host, Json::text);
        let path = self.path.as_ref().map(PathAndQuery::path);
        json.nullable(br#","path":"#, path.map(str::as_bytes), Json::text);
        json.field(br#","protocol":"#, protocol(self.version), Json::word);
    }

    fn write_answer(&self, table: &RoutingTable, json: &mut Json<'_>) {
        json.nullable(br#","status":"#, self.status.map(u64::from), Json::number);
        json.field(br#","bytes_in":"#, self.bytes_in, Json::number);
        json.field(br#","bytes_out":"#, self.bytes_out, Json::number);
        json.field(br#","duration_ms":"#, self.duration, Json::millis);
        json.nullable(br#","ttfb_ms":"#, self.first_byte, Json::millis);
        let country = self.country.as_ref().map(Country::as_str);
        json.nullable(br#","country":"#, country, Json::word);
        json.field(br#","geo_source":"#, self.source.label(), Json::word);
        let route = self.route.and_then(|id| table.routes.get(id.index()));
        let route = route.map(|route| route.name.as_bytes());
        json.nullable(br#","route":"#, route, Json::text);
        let region = self.region.and_then(|id| region_name(table, id));
        json.nullable(br#","region":"#, region, Json::text);
        let endpoint = self.answering().and_then(|attempt| attempt.endpoint);
        json.nullable(br#","endpoint":"#, endpoint, Json::socket);
        json.raw(br#","attempts":["#);
        for (place, attempt) in self.attempts().enumerate() {
            if place > 0 {
                json.raw(b",");
            }
            attempt.write_json(table, json);
        }
        json.raw(b"]");
        json.nullable(br#","reason":"#, self.rule.map(Rule::label), Json::word);
        json.nullable(br#","error":"#, self.error, Json::word);
        json.nullable(br#","tls_version":"#, self.tls_version, Json::word);
        json.field(br#","config_generation":"#, self.generation, Json::number);
    }
}

impl AttemptRecord {
    fn write_json(&self, table: &RoutingTable, json: &mut Json<'_>) {
        let (outcome, status) = match self.outcome {
            AttemptOutcome::Answered(status) => ("answered", Some(status)),
            AttemptOutcome::Failed(kind) => (kind.label(), None),
            AttemptOutcome::Overtaken => ("overtaken", None),
            AttemptOutcome::Resumed(status) => ("resumed", Some(status)),
            AttemptOutcome::Unfit(status) => ("unfit", Some(status)),
        };
        let region = region_name(table, self.region);
        json.nullable(br#"{"region":"#, region, Json::text);
        json.nullable(br#","endpoint":"#, self.endpoint, Json::socket);
        if self.hedge {
            json.raw(br#","hedge":true"#);
        }
        json.field(br#","outcome":"#, outcome, Json::word);
        json.optional(br#","status":"#, status.map(u64::from), Json::number);
        json.optional(br#","connect_ms":"#, self.connect, Json::millis);
        json.optional(br#","first_byte_ms":"#, self.first_byte, Json::millis);
        json.raw(b"}");
    }
}

fn region_name(table: &RoutingTable, id: RegionId) -> Option<&[u8]> {
    let region = table.regions.get(id.index())?;
    Some(region.name.as_bytes())
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};
    use std::time::Duration;

    use http::Method;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use meridian_core::model::outcome::ErrorKind;

    prop_compose! {
        fn attempt()(
            region in 0..3_u8,
            endpoint in option::of(any::<SocketAddr>()),
            hedge: bool,
            kind in 0..3_u8,
            status in 100..600_u16,
            connect in option::of(0..100_000_000_u64),
            first_byte in option::of(0..100_000_000_u64),
        ) -> AttemptRecord {
            AttemptRecord {
                region: RegionId(region),
                endpoint,
                hedge,
                outcome: match kind {
                    0 => AttemptOutcome::Answered(status),
                    1 => AttemptOutcome::Failed(ErrorKind::ConnectRefused),
                    _ => AttemptOutcome::Overtaken,
                },
                connect: connect.map(Duration::from_micros),
                first_byte: first_byte.map(Duration::from_micros),
            }
        }
    }

    prop_compose! {
        fn record()(
            times: [u32; 3],
            peer: SocketAddr,
            client: IpAddr,
            trace_id: u128,
            texts in [vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..40)],
            path in "/[ -~]{0,30}",
            status in option::of(100..600_u16),
            bytes: [u64; 2],
            attempts in vec(attempt(), 0..4),
            https: bool,
        ) -> RequestRecord {
            let [at, duration, first_byte] = times.map(|time| Duration::from_micros(time.into()));
            let mut record = RequestRecord::begin(at, peer, Method::PUT, Version::HTTP_2);
            let [host, id] = texts.map(|text| HeaderValue::from_bytes(&text).ok());
            record.client = client;
            record.trace_id = trace_id;
            record.host = host;
            record.request_id = id;
            record.path = path.parse().ok();
            record.status = status;
            [record.bytes_in, record.bytes_out] = bytes;
            record.duration = duration;
            record.first_byte = Some(first_byte);
            record.https = https;
            attempts.into_iter().for_each(|attempt| record.attempted(attempt));
            record
        }
    }

    fn millis(duration: Option<Duration>) -> Option<f64> {
        let micros = duration?.as_micros();
        Some(
            format!("{}.{:03}", micros / 1000, micros % 1000)
                .parse()
                .unwrap(),
        )
    }

    /// What serde makes of the values that a viewer or an origin can choose.
    fn chosen(record: &RequestRecord) -> Value {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let trace_id = format!("{:032x}", record.trace_id);
        json!({
            "request_id": record.request_id.as_ref().map_or_else(|| trace_id.clone(), text),
            "trace_id": trace_id,
            "client_ip": record.client,
            "peer_ip": record.peer.ip(),
            "scheme": if record.https { "https" } else { "http" },
            "host": record.host.as_ref().map(text),
            "path": record.path.as_ref().map(PathAndQuery::path),
            "status": record.status,
            "bytes_in": record.bytes_in,
            "bytes_out": record.bytes_out,
            "duration_ms": millis(Some(record.duration)),
            "ttfb_ms": millis(record.first_byte),
        })
    }

    fn tried(attempt: &AttemptRecord) -> Value {
        let mut tried = json!({
            "region": null,
            "endpoint": attempt.endpoint.map(|endpoint| endpoint.to_string()),
            "outcome": "overtaken",
        });
        if attempt.hedge {
            tried["hedge"] = true.into();
        }
        match attempt.outcome {
            AttemptOutcome::Answered(status) => {
                tried["outcome"] = "answered".into();
                tried["status"] = status.into();
            }
            AttemptOutcome::Failed(kind) => tried["outcome"] = kind.label().into(),
            _ => {}
        }
        let times = [
            ("connect_ms", attempt.connect),
            ("first_byte_ms", attempt.first_byte),
        ];
        for (name, time) in times {
            if let Some(millis) = millis(time) {
                tried[name] = millis.into();
            }
        }
        tried
    }

    proptest! {
        #[test]
        fn any_record_is_one_line_that_reads_as_serde_would_write_it(record in record()) {
            let mut out = Vec::new();
            record.write_json(&RoutingTable::default(), &mut out);
            let text = String::from_utf8(out).unwrap();
            prop_assert_eq!(text.lines().count(), 1);
            let line: Value = serde_json::from_str(&text).unwrap();
            for (name, value) in chosen(&record).as_object().unwrap() {
                prop_assert_eq!(&line[name], value, "{}", name);
            }
            let attempts: Vec<_> = record.attempts().map(tried).collect();
            prop_assert_eq!(&line["attempts"], &Value::from(attempts));
        }
    }
}
