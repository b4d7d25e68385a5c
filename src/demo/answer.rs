//! What a simulated region answers, and when.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::demo::body::{BrokenOff, Content, RegionBody};
use crate::demo::download::{self, Part};
use crate::demo::fault::Fault;
use crate::demo::switch::FaultSight;

/// Where health is asked for.
const HEALTH: &str = "/health";
/// How much later a slow region answers.
const SLOWNESS: Duration = Duration::from_secs(2);
/// Pages below it are in no region: each answers 404.
pub(crate) const MISSING: &str = "/missing/";
/// What takes [`SLOWNESS`] in every region: a heavy report.
pub(crate) const BATCH: &str = "/batch";
/// How many times slower a cold region is.
const COLDNESS: u32 = 10;
/// Every so many health checks of a lossy region one is not answered.
const LOST_PROBE: u64 = 3;
/// What an overloaded region asks for, in seconds.
const RETRY_AFTER: &str = "5";
/// The name in which a foreign region answers.
const FOREIGN: &str = "another-region";

/// What a region knows of itself, at all its endpoints.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) region: String,
    pub(crate) delay: Duration,
    /// Requests that were answered.
    requests: AtomicU64,
    /// By endpoint: with a common count, and probes that come in turns, the same endpoint would
    /// lose every one of them.
    endpoints: Vec<Counts>,
}

/// What an endpoint counts so that a fault hits its share of it.
#[derive(Debug, Default)]
struct Counts {
    /// Requests that came while every second one failed.
    flaky: AtomicU64,
    /// Health checks that came while every third one was lost.
    lossy: AtomicU64,
}

impl Served {
    /// A region that has served nothing yet.
    pub(crate) fn new(region: &str, delay: Duration, endpoints: usize) -> Self {
        Self {
            region: region.to_owned(),
            delay,
            requests: AtomicU64::new(0),
            endpoints: (0..endpoints).map(|_| Counts::default()).collect(),
        }
    }

    /// Answers one request as `sight` has it; an error ends the connection.
    pub(crate) async fn answer(
        &self,
        request: Request<Incoming>,
        mut sight: FaultSight,
    ) -> Result<Response<RegionBody>, BrokenOff> {
        let (head, body) = request.into_parts();
        let received = received_bytes(body).await;
        let path = head.uri.path();
        let is_health = path == HEALTH;
        if sight.now() == Fault::Reset {
            return Err(BrokenOff);
        }
        if is_health && sight.now() == Fault::Lossy && self.loses_probe(&sight) {
            sight.until(|fault| fault != Fault::Lossy).await;
        }
        tokio::time::sleep(self.delay_with(sight.now(), path)).await;
        let is_silent = |fault| matches!(fault, Fault::Hang | Fault::Blackhole);
        sight.until(|fault| !is_silent(fault)).await;
        let fault = sight.now();
        let reply = if let Some(refusal) = self.refusal(fault, is_health, &sight) {
            refusal
        } else if is_health {
            self.health(fault)
        } else {
            self.page(fault, &head, received)
        };
        let (mut response, content) = reply.split();
        let content = match head.method {
            Method::HEAD => Content::Health(Bytes::new()),
            _ => content,
        };
        self.sign(fault, response.headers_mut());
        Ok(response.map(|()| RegionBody::new(content, sight)))
    }

    fn delay_with(&self, fault: Fault, path: &str) -> Duration {
        match fault {
            _ if path == BATCH => self.delay + SLOWNESS,
            Fault::Slow if path != HEALTH => self.delay + SLOWNESS,
            Fault::Cold => self.delay * COLDNESS,
            _ => self.delay,
        }
    }

    fn loses_probe(&self, sight: &FaultSight) -> bool {
        let counts = self.endpoints.get(sight.endpoint());
        counts.is_some_and(|counts| count(&counts.lossy).is_multiple_of(LOST_PROBE))
    }

    fn fails_request(&self, sight: &FaultSight) -> bool {
        let counts = self.endpoints.get(sight.endpoint());
        counts.is_some_and(|counts| count(&counts.flaky).is_multiple_of(2))
    }

    /// The answer of a region that will not serve.
    fn refusal(&self, fault: Fault, is_health: bool, sight: &FaultSight) -> Option<RegionReply> {
        let status = match fault {
            Fault::Unavailable | Fault::Overload => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Gray if !is_health => StatusCode::SERVICE_UNAVAILABLE,
            Fault::Flaky if !is_health && self.fails_request(sight) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Fault::Throttle if !is_health => StatusCode::TOO_MANY_REQUESTS,
            _ => return None,
        };
        let value = json!({ "region": self.region, "error": "out of order" });
        let mut reply = RegionReply::json(status, &value);
        if matches!(fault, Fault::Overload | Fault::Throttle) {
            let headers = reply.response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
        }
        Some(reply)
    }

    fn health(&self, fault: Fault) -> RegionReply {
        let value = json!({
            "status": "ok",
            "region": self.name(fault),
            "replication_lag_seconds": 0,
            "write_epoch": 1,
            "checks": { "database": "ok" },
        });
        let mut reply = RegionReply::json(StatusCode::OK, &value);
        if let Content::Text(text) = reply.content {
            reply.content = Content::Health(text);
        }
        reply
    }

    fn page(&self, fault: Fault, head: &http::request::Parts, received: u64) -> RegionReply {
        let served = count(&self.requests) + 1;
        if head.uri.path() == download::PATH {
            match head.method {
                Method::GET => return RegionReply::download(Part::asked(&head.headers)),
                // Ranges are defined for GET only.
                Method::HEAD => return RegionReply::download(Part::Whole),
                _ => {}
            }
        }
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let status = match head.uri.path().starts_with(MISSING) {
            true => StatusCode::NOT_FOUND,
            false => StatusCode::OK,
        };
        let value = json!({
            "region": self.name(fault),
            "method": head.method.as_str(),
            "path": path,
            "received_bytes": received,
            "served": served,
        });
        RegionReply::json(status, &value)
    }

    fn name(&self, fault: Fault) -> &str {
        match fault {
            Fault::Foreign => FOREIGN,
            _ => &self.region,
        }
    }

    /// Says who answers.
    fn sign(&self, fault: Fault, headers: &mut HeaderMap) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(name) = HeaderValue::from_str(self.name(fault)) {
            headers.insert(HeaderName::from_static("x-demo-region"), name);
        }
    }
}

/// The head of an answer, and what its body consists of.
struct RegionReply {
    response: Response<()>,
    content: Content,
}

impl RegionReply {
    fn json(status: StatusCode, value: &Value) -> Self {
        let text = format!("{value}\n");
        let length = text.len() as u64;
        let kind = "application/json";
        Self::of(status, kind, length, Content::Text(Bytes::from(text)))
    }

    fn download(part: Part) -> Self {
        let (status, from, to) = match part {
            Part::Whole => (StatusCode::OK, 0, download::LENGTH),
            Part::Range(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
            Part::Nothing => (StatusCode::RANGE_NOT_SATISFIABLE, 0, 0),
        };
        let content = Content::Download { from, to };
        let mut reply = Self::of(status, "text/plain; charset=us-ascii", to - from, content);
        let headers = reply.response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::ETAG, HeaderValue::from_static(download::ETAG));
        let length = download::LENGTH;
        let range = match part {
            Part::Whole => None,
            Part::Range(from, to) => Some(format!("bytes {from}-{}/{length}", to - 1)),
            Part::Nothing => Some(format!("bytes */{length}")),
        };
        if let Some(Ok(range)) = range.map(HeaderValue::try_from) {
            headers.insert(header::CONTENT_RANGE, range);
        }
        reply
    }

    fn of(status: StatusCode, kind: &'static str, length: u64, content: Content) -> Self {
        let mut response = Response::new(());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Self { response, content }
    }

    fn split(self) -> (Response<()>, Content) {
        (self.response, self.content)
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// Reads a body to its end without keeping it.
async fn received_bytes(mut body: Incoming) -> u64 {
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    received
}
