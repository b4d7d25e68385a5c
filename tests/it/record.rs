//! What the access log tells of a request's way to its answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::failback::Two;
use crate::support::client::get;
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};

/// Region, outcome and whether it was a hedge, of each attempt.
fn attempts(line: &Value) -> Vec<(&str, &str, bool)> {
    let attempts = line["attempts"].as_array().unwrap().iter();
    attempts
        .map(|attempt| {
            (
                attempt["region"].as_str().unwrap(),
                attempt["outcome"].as_str().unwrap(),
                attempt["hedge"].as_bool().unwrap_or(false),
            )
        })
        .collect()
}

/// A proxy with an access log.
struct Logged {
    edge: Edge,
    log: PathBuf,
    _folder: TempDir,
}

impl Logged {
    async fn start(origins: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let text = Edge::text(origins, "").replace(
            "[access_log]\nenabled = false\n",
            &format!("[access_log]\npath = {log:?}\n"),
        );
        let edge = Edge::start(&text).await;
        edge.resolved().await;
        Self {
            edge,
            log,
            _folder: folder,
        }
    }

    /// Its first line.
    async fn line(&self) -> Value {
        let reading = async {
            loop {
                let text = std::fs::read_to_string(&self.log).unwrap_or_default();
                if text.ends_with('\n') {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let text = tokio::time::timeout(Duration::from_secs(10), reading).await;
        serde_json::from_str(&text.unwrap()).unwrap()
    }
}

/// An origin that has read some of an upload when it answers with `answer`, and says no more.
async fn answers_beside_an_upload(answer: &'static [u8]) -> (String, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answered = Arc::new(Notify::new());
    let told = Arc::clone(&answered);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while stream
                    .read_buf(&mut seen)
                    .await
                    .is_ok_and(|count| count > 0)
                {
                    if seen.ends_with(b"hello\r\n") {
                        let _ = stream.write_all(answer).await;
                        told.notify_one();
                    }
                }
            });
        }
    });
    (url, answered)
}

const HALF_AN_UPLOAD: &[u8] =
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
const NO_CHUNK: &[u8] = b"zzz\r\n";

#[tokio::test]
async fn an_upload_that_breaks_while_its_answer_streams_is_the_viewers_fault() {
    let large = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf";
    let (url, answered) = answers_beside_an_upload(large).await;
    let logged = Logged::start(&[("a", &url)]).await;
    let mut viewer = TcpStream::connect(logged.edge.address).await.unwrap();
    viewer.write_all(HALF_AN_UPLOAD).await.unwrap();
    answered.notified().await;
    let mut seen = Vec::new();
    while !seen.ends_with(b"half") {
        viewer.read_buf(&mut seen).await.unwrap();
    }
    viewer.write_all(NO_CHUNK).await.unwrap();
    let line = logged.line().await;
    assert_eq!(line["error"], "http_request_error");
    assert_eq!(attempts(&line), [("a", "answered", false)]);
}

#[tokio::test]
async fn an_upload_that_breaks_while_its_answer_is_held_is_the_viewers_fault() {
    let small = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let (url, answered) = answers_beside_an_upload(small).await;
    let logged = Logged::start(&[("a", &url)]).await;
    let mut viewer = TcpStream::connect(logged.edge.address).await.unwrap();
    viewer.write_all(HALF_AN_UPLOAD).await.unwrap();
    answered.notified().await;
    viewer.write_all(NO_CHUNK).await.unwrap();
    let mut answer = Vec::new();
    viewer.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "));
    let line = logged.line().await;
    assert_eq!(line["error"], "http_request_error");
    assert_eq!(attempts(&line), [("a", "viewer_body", false)]);
}

#[tokio::test]
async fn a_hedge_that_wins_is_told_with_the_attempt_it_overtook() {
    let two = Two::start("").await;
    two.origins[0].behave(Behaviour::Hang);
    assert_eq!(get(two.edge.address, "/", &[]).await.text(), "b");
    let lines = two.log(|lines| !lines.is_empty()).await;
    assert_eq!(
        attempts(&lines[0]),
        [("b", "answered", true), ("a", "overtaken", false)]
    );
    assert_eq!(lines[0]["region"], "b");
    assert_eq!(lines[0]["reason"], "failover");
}

#[tokio::test]
async fn a_hedge_that_loses_is_told_too() {
    let b = Arc::new(FakeOrigin::start("b").await);
    b.behave(Behaviour::Hang);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = Arc::clone(&b);
    // Answers once the other region was asked as well.
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let other = Arc::clone(&other);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let count = stream.read(&mut head).await.unwrap_or_default();
                if !head[..count].starts_with(b"GET /health") {
                    other.saw(1).await;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    let logged = Logged::start(&[("a", &url), ("b", &b.url())]).await;
    let edge = &logged.edge;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
    edge.counted("meridian_hedges_total{region=\"b\",result=\"lost\"}", 1.0)
        .await;
    let line = logged.line().await;
    assert_eq!(
        attempts(&line),
        [("a", "answered", false), ("b", "overtaken", true)]
    );
    assert_eq!(line["region"], "a");
}

#[tokio::test]
async fn a_probation_request_is_a_copy_that_no_viewer_and_no_log_line_knows_of() {
    let two = Two::start("").await;
    two.fall(0).await;
    // A viewer that has its answer and leaves does not end it.
    two.origins[0].behave(Behaviour::Slow(Duration::from_millis(50)));
    two.probes_pass(0, 2).await;
    let answer = get(two.edge.address, "/path", &[("a-field", "its value")]).await;
    assert_eq!(answer.text(), "b");
    let good = "meridian_probation_requests_total{region=\"a\",result=\"good\"}";
    two.edge.counted(good, 1.0).await;
    let seen = two.origins[0].seen();
    let [copy] = &*seen else {
        panic!("{seen:#?}");
    };
    assert_eq!(
        (&*copy.path, &copy.headers["a-field"]),
        ("/path", &"its value".parse().unwrap())
    );
    let connections = "meridian_upstream_connections_opened_total{region=\"a\"}";
    two.edge.counted(connections, 1.0).await;
    let lines = two.log(|lines| !lines.is_empty()).await;
    assert_eq!(lines.len(), 1);
    assert_eq!(attempts(&lines[0]), [("b", "answered", false)]);
}

#[tokio::test]
async fn what_no_region_answers_well_ends_no_probation() {
    let two = Two::start("").await;
    two.fall(0).await;
    two.probes_pass(0, 2).await;
    let refusal = || Behaviour::Answer(StatusCode::BAD_GATEWAY, Vec::new(), Bytes::new());
    two.origins
        .iter()
        .for_each(|origin| origin.behave(refusal()));
    get(two.edge.address, "/", &[]).await;
    two.origins[0].saw(1).await;
    two.origins[1].behave(Behaviour::Name);
    let bad = "meridian_probation_requests_total{region=\"a\",result=\"bad\"}";
    assert_eq!(two.edge.metric(bad).await, 0.0);
    assert_eq!(two.stage(0).await["stage"], "on_probation");
    let limit = tokio::time::Instant::now() + Duration::from_secs(20);
    while two.edge.metric(bad).await < 1.0 {
        assert_eq!(get(two.edge.address, "/", &[]).await.text(), "b");
        assert!(tokio::time::Instant::now() < limit, "no probation request");
    }
    assert_eq!(two.stage(0).await["stage"], "down");
}

#[tokio::test]
async fn while_all_regions_share_a_fate_the_log_the_status_and_the_metrics_say_so() {
    let two = Two::start("").await;
    two.fall(0).await;
    two.fall(1).await;
    assert_eq!(get(two.edge.address, "/", &[]).await.text(), "a");
    let lines = two.log(|lines| !lines.is_empty()).await;
    assert_eq!(lines[0]["reason"], "correlated_failure");
    let status = two.edge.admin("GET", "/api/v1/status").await;
    let status: Value = serde_json::from_slice(&status.body).unwrap();
    assert_eq!(status["correlated_failure"], true);
    two.edge
        .counted("meridian_correlated_failures_total", 1.0)
        .await;
    two.edge.counted("meridian_correlated_failure", 1.0).await;
}

#[tokio::test]
async fn when_no_permitted_region_can_serve_the_rule_is_fail_open() {
    let two = Two::start("[route.residency]\nDE = [\"a\"]\n").await;
    two.fall(0).await;
    let german = [("cloudfront-viewer-country", "DE")];
    assert_eq!(get(two.edge.address, "/", &german).await.text(), "a");
    let lines = two.log(|lines| !lines.is_empty()).await;
    assert_eq!(lines[0]["reason"], "fail_open");
    let series =
        "meridian_routing_decisions_total{route=\"all\",region=\"a\",reason=\"fail_open\"}";
    two.edge.counted(series, 1.0).await;
}

#[tokio::test]
async fn a_failure_that_calls_for_a_probe_is_counted() {
    let two = Two::start("").await;
    two.origins[0].behave(Behaviour::Reset);
    // What fails within 20 ms is one failure, and it takes two.
    while two
        .edge
        .metric("meridian_suspicions_total{region=\"a\"}")
        .await
        < 1.0
    {
        assert_eq!(get(two.edge.address, "/", &[]).await.text(), "b");
    }
}
