//! A large body that breaks off or stands still goes on from another region, byte for byte, or is
//! seen to be broken: never does a part of it look whole.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use meridian_core::apply::Event;
use meridian_core::model::outcome::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::client::{Reply, get, request, send, send_http2};
use crate::support::edge::Edge;
use crate::support::film::{ETAG, End, HALF, LENGTH, film, plays, plays_but, set, stall};
use crate::support::origin::{Behaviour, FakeOrigin, Seen, TestBody};

async fn two(more: &str) -> (FakeOrigin, FakeOrigin, Edge) {
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], more).await;
    (a, b, edge)
}

async fn ask(edge: &Edge, fields: &[(&str, &str)]) -> hyper::Result<Reply> {
    send(edge.address, request("GET", "/film", fields, "")).await
}

async fn ask_http2(edge: &Edge) -> hyper::Result<Reply> {
    let request = http::Request::get("http://test.example/film")
        .body(Full::<Bytes>::default())
        .unwrap();
    send_http2(edge.address, request).await
}

fn resumes(region: &str, result: &str) -> String {
    format!("meridian_resumes_total{{region=\"{region}\",result=\"{result}\"}}")
}

/// The first byte asked for, and the last as written.
fn asked_for(seen: &Seen) -> (usize, String) {
    let range = seen.headers[header::RANGE].to_str().unwrap();
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    (first.parse().unwrap(), last.to_owned())
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_from_the_next_region() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Whole));
    let reply = ask(&edge, &[("if-none-match", "\"v0\"")]).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-length"), LENGTH.to_string());
    assert!(reply.body == film, "other bytes");
    let asked = &b.seen()[0];
    let (first, last) = asked_for(asked);
    assert!(first > 0 && first <= HALF, "{first}");
    assert_eq!(last, (LENGTH - 1).to_string());
    assert_eq!(asked.headers[header::IF_RANGE], ETAG);
    assert!(!asked.headers.contains_key(header::IF_NONE_MATCH));
    edge.counted(&resumes("b", "resumed"), 1.0).await;
}

#[tokio::test]
async fn a_download_that_stands_still_goes_on_from_the_next_region() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, stall(HALF)));
    b.behave(plays(&film, End::Whole));
    let started = tokio::time::Instant::now();
    let reply = ask(&edge, &[]).await.unwrap();
    assert!(reply.body == film, "other bytes");
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "the route's own limit"
    );
    assert_eq!(asked_for(&b.seen()[0]).0, HALF);
}

#[tokio::test]
async fn downloads_over_http2_on_both_sides_go_on_as_well() {
    let film = film();
    let a = FakeOrigin::start_http2("a").await;
    let b = FakeOrigin::start_http2("b").await;
    let text = Edge::text(&[("a", &a.url()), ("b", &b.url())], "")
        .replace("[region.a]\n", "[region.a]\nhttp = \"2\"\n")
        .replace("[region.b]\n", "[region.b]\nhttp = \"2\"\n");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    b.behave(plays(&film, End::Whole));
    for end in [End::Cut(HALF), stall(HALF)] {
        a.behave(plays(&film, end));
        let reply = ask_http2(&edge).await.unwrap();
        assert_eq!(reply.status, 200);
        assert!(reply.body == film, "other bytes");
    }
    edge.counted(&resumes("b", "resumed"), 2.0).await;
}

#[tokio::test]
async fn what_is_not_the_same_bytes_is_not_spliced() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Cut(HALF)));
    type Change = Box<dyn Fn(&mut Response<TestBody>) + Send + Sync>;
    let changes: Vec<Change> = vec![
        Box::new(set("etag", "\"v2\"")),
        Box::new(set("etag", "W/\"v1\"")),
        Box::new(|response| drop(response.headers_mut().remove("etag"))),
        Box::new(|response| *response.status_mut() = StatusCode::OK),
        Box::new(|response| *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE),
        Box::new(|response| drop(response.headers_mut().remove("content-range"))),
        Box::new(set("content-range", "bytes 0-8388607/8388608")),
        Box::new(set("content-encoding", "gzip")),
        Box::new(|response| drop(response.headers_mut().remove("content-length"))),
        Box::new(|response| {
            let range = response.headers()["content-range"].to_str().unwrap();
            let longer = range.replace("/8388608", "/8388609").parse().unwrap();
            response.headers_mut().insert("content-range", longer);
        }),
    ];
    let count = changes.len();
    for change in changes {
        b.behave(plays_but(&film, End::Whole, change));
        assert!(ask(&edge, &[]).await.is_err());
    }
    assert_eq!(b.seen().len(), count);
    b.behave(plays_but(&film, End::Whole, set("etag", "\"v2\"")));
    assert!(ask_http2(&edge).await.is_err());
    edge.counted(&resumes("b", "unfit"), 1.0 + count as f64)
        .await;
    assert!(edge.metric(&resumes("b", "resumed")).await < 1.0);
}

#[tokio::test]
async fn what_cannot_be_had_in_parts_breaks_without_asking_anyone() {
    let film = film();
    let (a, b, edge) = two("").await;
    b.behave(plays(&film, End::Whole));
    type Change = Box<dyn Fn(&mut Response<TestBody>) + Send + Sync>;
    let changes: Vec<Change> = vec![
        Box::new(set("etag", "W/\"v1\"")),
        Box::new(|response| drop(response.headers_mut().remove("etag"))),
        Box::new(set("accept-ranges", "none")),
        Box::new(|response| drop(response.headers_mut().remove("accept-ranges"))),
        Box::new(|response| drop(response.headers_mut().remove("content-length"))),
    ];
    for change in changes {
        a.behave(plays_but(&film, End::Cut(HALF), change));
        assert!(ask(&edge, &[]).await.is_err());
        assert!(ask_http2(&edge).await.is_err());
    }
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_request_with_a_body_is_not_sent_again_for_the_rest() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Whole));
    for method in ["POST", "PUT", "GET"] {
        let broken = send(edge.address, request(method, "/film", &[], "x")).await;
        assert!(broken.is_err(), "{method}");
    }
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_viewers_own_range_goes_on_at_the_right_byte() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Cut(HALF / 2)));
    b.behave(plays(&film, End::Whole));
    let (first, last) = (1_000_000, 7_000_000);
    let range = format!("bytes={first}-{last}");
    let fields = [("range", range.as_str()), ("if-range", "\"v1\"")];
    let reply = ask(&edge, &fields).await.unwrap();
    assert_eq!(reply.status, 206);
    let whole = format!("bytes {first}-{last}/{LENGTH}");
    assert_eq!(reply.field("content-range"), whole);
    assert!(reply.body == film[first..=last], "other bytes");
    let (from, to) = asked_for(&b.seen()[0]);
    assert!(from > first && from <= first + HALF / 2, "{from}");
    assert_eq!(to, last.to_string());
}

#[tokio::test]
async fn the_rest_is_never_asked_for_outside_the_permitted_set() {
    let film = film();
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let c = FakeOrigin::start("c").await;
    let more = "[route.residency]\nDE = [\"a\", \"c\"]\nFR = [\"a\"]\n";
    let origins = [("a", a.url()), ("b", b.url()), ("c", c.url())];
    let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
    let edge = Edge::in_front_of(&origins, more).await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Whole));
    c.behave(plays(&film, End::Whole));
    let from = |country| [("cloudfront-viewer-country", country)];
    let reply = ask(&edge, &from("DE")).await.unwrap();
    assert!(reply.body == film, "other bytes");
    assert!(ask(&edge, &from("FR")).await.is_err());
    assert_eq!((b.seen().len(), c.seen().len()), (0, 1));
}

#[tokio::test]
async fn without_budget_a_broken_body_stays_broken() {
    let film = film();
    let more = "timeouts = { body_progress = \"300ms\" }\n\
        [limits]\nretry_budget = \"0%\"\nretry_budget_minimum = 0\n";
    let (a, b, edge) = two(more).await;
    b.behave(plays(&film, End::Whole));
    for end in [End::Cut(HALF), stall(HALF)] {
        a.behave(plays(&film, end));
        assert!(ask(&edge, &[]).await.is_err());
    }
    assert!(b.seen().is_empty());
    let series = "meridian_retry_budget_exhausted_total{region=\"a\"}";
    edge.counted(series, 2.0).await;
}

#[tokio::test]
async fn downloads_that_break_together_wait_for_room_in_the_budget() {
    let film = film();
    let more = "[limits]\nretry_budget = \"0%\"\nretry_budget_minimum = 1\n";
    let (a, b, edge) = two(more).await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Whole));
    let address = edge.address;
    let viewers: Vec<_> = (0..6)
        .map(|_| tokio::spawn(async move { get(address, "/film", &[]).await }))
        .collect();
    for viewer in viewers {
        assert!(viewer.await.unwrap().body == film, "other bytes");
    }
}

#[tokio::test]
async fn one_attempt_means_that_nobody_is_asked_for_the_rest() {
    let film = film();
    let (a, b, edge) = two("retry = { attempts = 1 }\n").await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Whole));
    assert!(ask(&edge, &[]).await.is_err());
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_body_that_breaks_twice_goes_on_from_the_third_region_and_the_record_says_so() {
    let film = film();
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let c = FakeOrigin::start("c").await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let written = format!("[access_log]\nenabled = true\npath = {log:?}\n");
    let origins = [("a", a.url()), ("b", b.url()), ("c", c.url())];
    let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
    let text = Edge::text(&origins, "").replace("[access_log]\nenabled = false\n", &written);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(plays(&film, End::Cut(HALF / 2)));
    c.behave(plays(&film, End::Whole));
    let reply = ask(&edge, &[]).await.unwrap();
    assert!(reply.body == film, "other bytes");
    assert!(asked_for(&c.seen()[0]).0 > asked_for(&b.seen()[0]).0);
    let limit = Duration::from_secs(10);
    let line = tokio::time::timeout(limit, async {
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(line) = text.lines().next() {
                return line.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let line: serde_json::Value = serde_json::from_str(&line.await.unwrap()).unwrap();
    let attempts: Vec<_> = line["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["region"].as_str().unwrap(),
                one["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    let made = [("a", "answered"), ("b", "resumed"), ("c", "resumed")];
    assert_eq!(attempts, made);
    assert_eq!(line["bytes_out"], LENGTH);
    assert_eq!(
        (&line["region"], &line["error"]),
        (&"a".into(), &serde_json::Value::Null)
    );
}

#[tokio::test]
async fn a_region_that_cannot_be_reached_for_the_rest_is_passed_over() {
    let film = film();
    let a = FakeOrigin::start("a").await;
    let mut b = FakeOrigin::start("b").await;
    let c = FakeOrigin::start("c").await;
    let origins = [("a", a.url()), ("b", b.url()), ("c", c.url())];
    let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
    let edge = Edge::in_front_of(&origins, "").await;
    b.kill().await;
    a.behave(plays(&film, End::Cut(HALF)));
    c.behave(plays(&film, End::Whole));
    let reply = ask(&edge, &[]).await.unwrap();
    assert!(reply.body == film, "other bytes");
    edge.counted(&resumes("b", "failed"), 1.0).await;
    edge.counted(&resumes("c", "resumed"), 1.0).await;
}

#[tokio::test]
async fn a_gateways_failure_instead_of_the_rest_is_counted_as_one() {
    let film = film();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Cut(HALF)));
    let status = StatusCode::BAD_GATEWAY;
    b.behave(Behaviour::Answer(status, Vec::new(), Bytes::new()));
    assert!(ask(&edge, &[]).await.is_err());
    let failures = "meridian_upstream_attempt_failures_total";
    let of_b = format!("{failures}{{region=\"b\",reason=\"gateway_status\"}}");
    edge.counted(&of_b, 1.0).await;
}

#[tokio::test]
async fn a_body_that_goes_on_by_itself_is_left_alone() {
    let film = film();
    let (a, b, edge) = two("").await;
    let go = Arc::new(Notify::new());
    a.behave(plays(&film, End::Stall(HALF, Arc::clone(&go))));
    b.behave(Behaviour::Hang);
    let address = edge.address;
    let viewer = tokio::spawn(async move { get(address, "/film", &[]).await });
    b.saw(1).await;
    go.notify_one();
    assert!(viewer.await.unwrap().body == film, "other bytes");
    edge.counted(&resumes("b", "overtaken"), 1.0).await;
}

#[tokio::test]
async fn a_body_that_stands_still_and_that_nobody_else_has_gets_its_own_time() {
    let film = film();
    let (a, b, edge) = two("").await;
    let go = Arc::new(Notify::new());
    a.behave(plays(&film, End::Stall(HALF, Arc::clone(&go))));
    b.behave(plays_but(&film, End::Whole, set("etag", "\"v2\"")));
    let address = edge.address;
    let viewer = tokio::spawn(async move { get(address, "/film", &[]).await });
    edge.counted(&resumes("b", "unfit"), 1.0).await;
    go.notify_one();
    assert!(viewer.await.unwrap().body == film, "other bytes");
}

#[tokio::test]
async fn a_region_whose_bodies_break_where_anothers_do_not_is_taken_out() {
    let film = film();
    for end in [End::Cut(HALF), stall(HALF)] {
        let (a, b, edge) = two("").await;
        a.behave(plays(&film, end));
        b.behave(plays(&film, End::Whole));
        // One after the other: what breaks within 20 ms breaks once.
        let mut revisions = edge.app.board().revisions();
        while edge.app.board().live().snapshot.serving.len() == 2 {
            let reply = get(edge.address, "/film", &[]).await;
            assert!(reply.body == film, "other bytes");
            let _ = timeout(Duration::from_millis(25), revisions.changed()).await;
        }
    }
}

#[tokio::test]
async fn the_region_that_was_late_is_the_last_to_be_asked_for_the_rest() {
    let film = film();
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let c = FakeOrigin::start("c").await;
    let origins = [("a", a.url()), ("b", b.url()), ("c", c.url())];
    let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
    let edge = Edge::in_front_of(&origins, "").await;
    a.behave(Behaviour::Hang);
    b.behave(plays(&film, End::Cut(HALF)));
    c.behave(plays(&film, End::Whole));
    assert!(ask(&edge, &[]).await.unwrap().body == film, "other bytes");
    let seen = (a.seen().len(), b.seen().len(), c.seen().len());
    assert_eq!(seen, (1, 1, 1));
    c.behave(plays(&film, End::Cut(HALF / 2)));
    // Three attempts are all that the route allows.
    assert!(ask(&edge, &[]).await.is_err());
}

/// A download of which only a part is under way: the viewer takes no more until it is told to, and
/// then gives how it ended.
async fn half_read(edge: &Edge, a: &FakeOrigin) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = b"GET /film HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    a.saw(1).await;
    let mut answer = vec![0; HALF];
    stream.read_exact(&mut answer).await.unwrap();
    (stream, answer)
}

#[tokio::test]
async fn after_a_reload_the_rest_comes_only_from_where_the_new_table_leads() {
    let film: Bytes = film().repeat(4).into();
    for (line, whole) in [("FR = [\"a\"]\n", true), ("DE = [\"a\"]\n", false)] {
        let (a, b, edge) = two("").await;
        a.behave(plays(&film, End::Whole));
        b.behave(plays(&film, End::Whole));
        let (mut stream, mut answer) = half_read(&edge, &a).await;
        let more = format!("[route.residency]\n{line}[viewer]\nunknown = \"DE\"\n");
        let origins = [("a", a.url()), ("b", b.url())];
        let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
        edge.reload_with(&Edge::text(&origins, &more)).await;
        a.close_connections();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer.ends_with(&film), whole);
        assert_eq!(b.seen().len(), usize::from(whole));
    }
}

#[tokio::test]
async fn the_rest_is_asked_for_by_what_is_believed_then() {
    let film: Bytes = film().repeat(4).into();
    let a = FakeOrigin::start("a").await;
    let mut b = FakeOrigin::start("b").await;
    let c = FakeOrigin::start("c").await;
    let origins = [("a", a.url()), ("b", b.url()), ("c", c.url())];
    let origins = origins.each_ref().map(|(name, url)| (*name, url.as_str()));
    let more = "retry = { attempts = 2 }\n";
    let edge = Edge::in_front_of(&origins, more).await;
    for one in [&a, &c] {
        one.behave(plays(&film, End::Whole));
    }
    let (mut stream, mut answer) = half_read(&edge, &a).await;
    let b_id = edge
        .app
        .board()
        .live()
        .snapshot
        .table
        .region_named("b")
        .unwrap();
    b.kill().await;
    for _ in 0..5 {
        let event = {
            let live = edge.app.board().live();
            Event::TrafficFailed {
                endpoint: live.snapshot.regions[b_id.index()].endpoints[0].id,
                kind: ErrorKind::ConnectRefused,
                in_a_row: 5,
            }
        };
        edge.app.board().tell(event);
    }
    let mut revisions = edge.app.board().revisions();
    while edge.app.board().live().snapshot.serving.contains(b_id) {
        revisions.changed().await.unwrap();
    }
    a.close_connections();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&film), "other bytes");
    edge.counted(&resumes("c", "resumed"), 1.0).await;
}

#[tokio::test]
async fn a_viewer_that_does_not_read_is_no_body_that_stands_still() {
    let film: Bytes = film().repeat(4).into();
    let (a, b, edge) = two("").await;
    a.behave(plays(&film, End::Whole));
    let (mut stream, mut answer) = half_read(&edge, &a).await;
    // Nothing tells that something did not happen; this is longer than our patience.
    tokio::time::sleep(Duration::from_millis(1600)).await;
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(&film), "other bytes");
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_viewer_that_leaves_while_the_rest_is_asked_for_gives_the_budget_back() {
    let film = film();
    let more = "[limits]\nretry_budget = \"0%\"\nretry_budget_minimum = 1\n";
    let (a, b, edge) = two(more).await;
    a.behave(plays(&film, End::Cut(HALF)));
    b.behave(Behaviour::Hang);
    let address = edge.address;
    let viewer = tokio::spawn(async move { get(address, "/film", &[]).await });
    b.saw(1).await;
    viewer.abort();
    edge.counted(
        "meridian_requests_total{route=\"all\",region=\"a\",code_class=\"2xx\"}",
        1.0,
    )
    .await;
    b.behave(plays(&film, End::Whole));
    assert!(ask(&edge, &[]).await.unwrap().body == film, "other bytes");
}
