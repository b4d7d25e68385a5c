//! `meridian bench` against origins that behave, and such that do not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use rustls::ServerConfig;
use serde_json::Value;

use crate::cli::{Ran, meridian, run};
use crate::support::authority::{Authority, serve, tls};
use crate::support::http2::{Http2, Http2Origin};
use crate::support::origin::{Behaviour, FakeOrigin, Seen, TestBody, full};

/// Runs `bench` with this line to its end.
async fn bench(line: String) -> Ran {
    let line = format!("bench {line}");
    let ran = tokio::task::spawn_blocking(move || run(&line));
    ran.await.unwrap()
}

/// The same, which must do well, and what it reports.
async fn measured(line: String) -> Value {
    let ran = bench(format!("{line} -o json")).await;
    assert_eq!(ran.code, 0, "{line}: {}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

fn certified(authority: &Authority, alpn: &[&str]) -> Arc<ServerConfig> {
    let files = authority.certificate("origin", &["127.0.0.1"]);
    let mut config = Arc::unwrap_or_clone(serve(&tls(&[files])));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn behind_tls(http2: bool, config: Arc<ServerConfig>) -> FakeOrigin {
    let loopback = "127.0.0.1:0".parse().unwrap();
    FakeOrigin::start_with("one", http2, Some(config), loopback).await
}

fn ca(authority: &Authority) -> PathBuf {
    authority.file("ca.pem", authority.issuer.pem())
}

fn field<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_that_is_due_is_sent_over_connections_that_are_kept() {
    let origin = FakeOrigin::start("one").await;
    let url = origin.url();
    let report = measured(format!(
        "{url}/x?y=1 --rate 500 --for 400ms --connections 4 --method PUT --body-size 300 \
         --header X-One:1 --header Host:api.test"
    ))
    .await;
    assert_eq!(
        (&report["due"], &report["sent"]),
        (&200.into(), &200.into())
    );
    assert_eq!(
        (&report["answered"], &report["statuses"]["200"]),
        (&200.into(), &200.into())
    );
    assert_eq!(
        (&report["errors"]["total"], &report["unfinished"]),
        (&0.into(), &0.into())
    );
    assert_eq!(report["body_bytes"], 600);
    let seen = origin.seen();
    assert_eq!((seen.len(), origin.connections()), (200, 4));
    for request in seen {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("PUT", "/x?y=1")
        );
        assert_eq!(request.body.len(), 300);
        assert_eq!(
            (field(&request, "x-one"), field(&request, "host")),
            ("1", "api.test")
        );
    }
    let [latency, service] = ["latency", "service_time"].map(|name| &report[name]);
    for name in [
        "mean_seconds",
        "p50_seconds",
        "p99_9_seconds",
        "max_seconds",
    ] {
        let [since_due, since_sent] = [latency, service].map(|it| it[name].as_f64().unwrap());
        assert!(
            since_sent > 0.0 && since_due >= since_sent,
            "{name}: {report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_share_the_requests_and_the_connections() {
    let origin = FakeOrigin::start("one").await;
    let url = origin.url();
    let line = format!("{url} --rate 500 --for 200ms --connections 5 --threads 3");
    let report = measured(line).await;
    assert_eq!(
        (&report["answered"], &report["threads"]),
        (&100.into(), &3.into())
    );
    assert_eq!((origin.seen().len(), origin.connections()), (100, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_without_tls_too_and_streams_share_a_connection() {
    let origin = FakeOrigin::start_http2("one").await;
    let url = origin.url();
    let report = measured(format!(
        "{url} --http2 --rate 500 --for 200ms --connections 2 --streams 8 --header Host:api.test"
    ))
    .await;
    assert_eq!(
        (&report["answered"], &report["protocol"]),
        (&100.into(), &"HTTP/2".into())
    );
    assert_eq!((origin.seen().len(), origin.connections()), (100, 2));
    for request in origin.seen() {
        assert_eq!(request.authority.as_deref(), Some("api.test"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_went_away_is_opened_again_before_the_next_request() {
    let origin = FakeOrigin::start("one").await;
    let close = vec![("connection", "close".to_owned())];
    origin.behave(Behaviour::Answer(StatusCode::OK, close, Bytes::new()));
    let url = origin.url();
    let report = measured(format!("{url} --rate 100 --for 200ms --connections 2")).await;
    assert_eq!(
        (&report["answered"], &report["errors"]["total"]),
        (&20.into(), &0.into())
    );
    assert_eq!(report["connections_opened"], 20);

    let origin = Http2Origin::start("two").await;
    origin.behave(Http2::GoAway);
    let url = origin.url();
    let report = measured(format!(
        "{url} --http2 --rate 50 --for 200ms --connections 1"
    ))
    .await;
    assert_eq!(
        (&report["answered"], &report["errors"]["total"]),
        (&10.into(), &0.into())
    );
    assert!(report["connections_opened"].as_u64() > Some(1), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_checked_unless_told_otherwise() {
    let authority = Authority::new();
    let origin = behind_tls(false, certified(&authority, &["http/1.1"])).await;
    let url = origin.url();
    let brief = "--rate 50 --for 100ms --connections 2";
    let file = ca(&authority).display().to_string();
    for trust in [format!("--ca {file}"), "--insecure".to_owned()] {
        let report = measured(format!("{url} {brief} {trust}")).await;
        assert_eq!(
            (&report["answered"], &report["errors"]["total"]),
            (&5.into(), &0.into())
        );
    }
    let refused = bench(format!("{url} {brief}")).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("--ca FILE"), "{}", refused.err);
    let refused = bench(format!("{url} {brief} --http2 --insecure")).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("--http2"), "{}", refused.err);
    let refused = bench(format!("{url} {brief} --ca {file}.not")).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("ca.pem.not"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_over_tls_is_agreed_on_by_alpn() {
    let authority = Authority::new();
    let origin = behind_tls(true, certified(&authority, &["h2"])).await;
    let url = origin.url();
    let line = format!("{url} --http2 --insecure --rate 50 --for 100ms --connections 1");
    assert_eq!(measured(line).await["answered"], 5);
    // No ALPN at all.
    let silent = behind_tls(true, certified(&authority, &[])).await;
    let url = silent.url();
    let refused = bench(format!("{url} --http2 --insecure --rate 50 --for 100ms")).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("did not agree to HTTP/2"),
        "{}",
        refused.err
    );
}

/// A world of two regions in one origin.
fn by_country(seen: &Seen) -> Response<TestBody> {
    let region = match field(seen, "cloudfront-viewer-country") {
        "DE" => "eu",
        "JP" => "asia",
        other => other,
    };
    let mut response = Response::new(full("x"));
    let name = if seen.path == "/other" {
        "x-region"
    } else {
        "x-demo-region"
    };
    let region = region.parse().unwrap();
    response.headers_mut().insert(name, region);
    response
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_come_from_the_countries_of_the_mix() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(Behaviour::With(Arc::new(|seen| by_country(&seen))));
    let url = origin.url();
    let brief = "--rate 1000 --for 200ms --connections 2 --country-mix DE=3,JP=1 --seed 7";
    let report = measured(format!("{url} {brief}")).await;
    let mut seen = BTreeMap::new();
    for request in origin.seen() {
        let country = field(&request, "cloudfront-viewer-country").to_owned();
        *seen.entry(country).or_insert(0_u64) += 1;
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["DE", "JP"]);
    assert!((130..=170).contains(&seen["DE"]), "{seen:?}");
    for (country, region) in [("DE", "eu"), ("JP", "asia")] {
        assert_eq!(report["countries"][country]["answered"], seen[country]);
        assert_eq!(
            report["countries"][country]["served_by"][region],
            seen[country]
        );
        assert_eq!(report["served_by"][region], seen[country]);
    }
    // The same viewers again, whatever the threads; and another header says the region.
    let line = format!("{url}/other {brief} --threads 2 --region-header x-region");
    assert_eq!(measured(line).await["served_by"], report["served_by"]);
    let table = bench(format!("{url} {brief}")).await.out;
    let heading = "COUNTRY  DUE  ANSWERED  FAILED  P50";
    assert!(
        table.contains(heading) && table.contains("served by"),
        "{table}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_server_are_answers_but_silence_is_none() {
    let origin = FakeOrigin::start("one").await;
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    origin.behave(Behaviour::Answer(unavailable, Vec::new(), Bytes::new()));
    let (url, brief) = (origin.url(), "--rate 50 --for 200ms --connections 2");
    let report = measured(format!("{url} {brief}")).await;
    assert_eq!(report["classes"], serde_json::json!({ "5xx": 10 }));
    origin.behave(Behaviour::Hang);
    let silent = bench(format!("{url} {brief} --timeout 100ms -o json")).await;
    assert_eq!(silent.code, 1);
    assert!(
        silent.err.contains("nothing was answered"),
        "{}",
        silent.err
    );
    let report: Value = serde_json::from_str(&silent.out).unwrap();
    assert_eq!(
        (&report["due"], &report["unfinished"]),
        (&10.into(), &0.into())
    );
    let late = report["errors"]["kinds"]["timed_out"]["count"].as_u64();
    let never = report["unsent"]["too_late"].as_u64();
    assert_eq!(late.unwrap() + never.unwrap(), 10, "{report}");
    origin.behave(Behaviour::Raw("no HTTP at all\r\n\r\n".into()));
    let rubbish = bench(format!("{url} {brief} -o json")).await;
    assert_eq!(rubbish.code, 1);
    let report: Value = serde_json::from_str(&rubbish.out).unwrap();
    assert_eq!(
        report["errors"]["kinds"]["not_http"]["count"], 10,
        "{report}"
    );
    assert!(rubbish.err.contains("is it HTTP/1.1"), "{}", rubbish.err);
    origin.behave(Behaviour::RawOpen("no HTTP at all\r\n\r\n".into()));
    let rubbish = bench(format!("{url} {brief} --http2 -o json")).await;
    let report: Value = serde_json::from_str(&rubbish.out).unwrap();
    assert_eq!(
        report["errors"]["kinds"]["not_http"]["count"], 10,
        "{report}"
    );
    assert!(rubbish.err.contains("without --http2"), "{}", rubbish.err);
}

#[test]
fn what_cannot_be_asked_for_says_what_can() {
    // Bound and dropped: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    for (line, code, wanted) in [
        (format!("http://{address}/"), 1, "is the process running"),
        (
            "http://nobody.invalid/".to_owned(),
            1,
            "cannot find an address of nobody.invalid",
        ),
        ("ftp://host/".to_owned(), 2, "is not a URL such as"),
        (
            format!("{address} --country-mix wrld"),
            2,
            "write world or eu",
        ),
        (
            format!("{address} --country-mix DE=0"),
            2,
            "whole numbers above 0",
        ),
        (
            format!("{address} --header nonsense"),
            2,
            "'Accept: text/plain'",
        ),
        (
            format!("{address} --header Content-Length:1"),
            2,
            "--body-size",
        ),
        (
            format!("{address} --for 20"),
            2,
            "is not a time such as 20s",
        ),
        (format!("{address} --insecure"), 2, "use an https URL"),
        (format!("{address} --streams 4"), 2, "--http2"),
    ] {
        let refused = run(&format!("bench {line}"));
        assert_eq!(refused.code, code, "{line}: {}", refused.err);
        assert!(refused.err.contains(wanted), "{line}: {}", refused.err);
        assert_eq!(refused.out, "", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_with_what_was_done() {
    let origin = FakeOrigin::start("one").await;
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "bench {} --rate 100 --for 1h --connections 2 -o json",
        origin.url()
    );
    let child = meridian(folder.path(), &line)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    origin.saw(20).await;
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let ended = ended.await.unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let answered = report["answered"].as_u64().unwrap();
    assert!(
        answered >= 18 && answered <= origin.seen().len() as u64,
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_explains_every_field_of_the_report() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bench.md");
    let text = std::fs::read_to_string(path).unwrap();
    let origin = FakeOrigin::start("one").await;
    let line = format!("{} --rate 50 --for 100ms --country-mix FR", origin.url());
    let report = measured(line).await;
    let fields = report.as_object().unwrap().keys();
    for name in fields {
        assert!(text.contains(&format!("| `{name}` |")), "{name}");
    }
    for name in report["countries"]["FR"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
