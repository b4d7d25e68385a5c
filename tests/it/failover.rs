//! What a viewer sees while a region fails: the next region's answer, or a clear error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::client::{get, request, send, send_http2};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin, full};

/// Two regions, `a` before `b`.
async fn two(more: &str) -> (FakeOrigin, FakeOrigin, Edge) {
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], more).await;
    (a, b, edge)
}

fn status(code: u16, fields: &[(&'static str, &str)]) -> Behaviour {
    let fields = fields
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Behaviour::Answer(
        StatusCode::from_u16(code).unwrap(),
        fields,
        Bytes::from("from a"),
    )
}

#[tokio::test]
async fn a_refused_connection_sends_any_method_to_the_next_region() {
    let (mut a, b, edge) = two("").await;
    a.kill().await;
    for method in ["GET", "PUT", "POST"] {
        let reply = send(edge.address, request(method, "/", &[], "body"))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "b"),
            "{method}"
        );
    }
    let bodies: Vec<_> = b.seen().iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(bodies, ["body"; 3]);
}

#[tokio::test]
async fn a_gateway_error_sends_a_get_on_but_not_a_post() {
    for code in [502, 503, 504] {
        let (a, b, edge) = two("").await;
        a.behave(status(code, &[]));
        assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
        let reply = send(edge.address, request("POST", "/", &[], "x"))
            .await
            .unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (code, "from a"));
        assert_eq!(b.seen().len(), 1, "the POST went to b too");
    }
}

#[tokio::test]
async fn a_post_with_a_key_goes_on_where_the_route_opts_in() {
    let (a, b, edge) = two("retry = { idempotency_key = true }\n").await;
    a.behave(status(503, &[]));
    let keyed = request("POST", "/", &[("idempotency-key", "k1")], "x");
    assert_eq!(send(edge.address, keyed).await.unwrap().text(), "b");
    assert_eq!(b.seen()[0].body, "x");
    let unkeyed = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(unkeyed.status, 503);
}

#[tokio::test]
async fn a_region_that_asks_to_wait_is_not_retried_elsewhere() {
    for (code, fields) in [(429, vec![]), (503, vec![("retry-after", "7")])] {
        let (a, b, edge) = two("").await;
        a.behave(status(code, &fields));
        let reply = get(edge.address, "/", &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (code, "from a"));
        assert!(b.seen().is_empty());
    }
}

#[tokio::test]
async fn the_first_regions_own_error_is_given_when_no_better_answer_comes() {
    let (a, mut b, edge) = two("").await;
    a.behave(status(503, &[("x-why", "maintenance")]));
    b.kill().await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!((reply.status, reply.field("x-why")), (503, "maintenance"));
    assert_eq!(reply.text(), "from a");
}

#[tokio::test]
async fn a_late_answer_sends_a_get_on_and_ends_a_post() {
    let (a, b, edge) = two("timeouts = { first_byte = \"200ms\" }\n").await;
    a.behave(Behaviour::Hang);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    let reply = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(reply.status, 504);
    assert_eq!(
        reply.field("proxy-status"),
        "meridian;error=http_response_timeout;next-hop=\"a\";details=\"not_retryable\""
    );
    assert_eq!(b.seen().len(), 1);
}

#[tokio::test]
async fn a_reset_sends_a_get_on_and_ends_a_post() {
    let (a, b, edge) = two("").await;
    a.behave(Behaviour::Reset);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    let reply = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(reply.status, 502);
    assert_eq!(b.seen().len(), 1);
}

#[tokio::test]
async fn rubbish_from_an_origin_is_a_bad_gateway_and_sends_a_get_on() {
    let (a, _b, edge) = two("").await;
    a.behave(Behaviour::Raw(Bytes::from_static(
        b"SSH-2.0-OpenSSH\r\n\r\n",
    )));
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    let reply = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(reply.status, 502);
}

#[tokio::test]
async fn all_regions_down_is_a_clear_502_that_names_no_address() {
    let (mut a, mut b, edge) = two("").await;
    a.kill().await;
    b.kill().await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!(reply.status, 502);
    assert_eq!(
        reply.field("proxy-status"),
        "meridian;error=connection_refused;next-hop=\"b\";details=\"no_region_left\""
    );
    assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
}

#[tokio::test]
async fn attempts_stop_at_the_routes_limit() {
    let (mut a, b, edge) = two("retry = { attempts = 1 }\n").await;
    a.kill().await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!(reply.status, 502);
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn nothing_ever_leaves_the_permitted_set() {
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let more = "[route.residency]\nDE = [\"a\"]\n";
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], more).await;
    a.behave(status(503, &[]));
    let german = [("cloudfront-viewer-country", "DE")];
    let reply = get(edge.address, "/", &german).await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "from a"));
    assert!(b.seen().is_empty());
    let reply = get(edge.address, "/", &[("cloudfront-viewer-country", "JP")]).await;
    assert_eq!(reply.text(), "b");
}

#[tokio::test]
async fn a_body_beyond_the_replay_buffer_is_not_sent_twice() {
    let (a, b, edge) = two("").await;
    a.behave(status(503, &[]));
    let large = vec![7; 100_000];
    let reply = send(edge.address, request("PUT", "/", &[], large))
        .await
        .unwrap();
    assert_eq!(reply.status, 503);
    assert!(b.seen().is_empty());
    let small = vec![7; 60_000];
    let reply = send(edge.address, request("PUT", "/", &[], small.clone()))
        .await
        .unwrap();
    assert_eq!(reply.text(), "b");
    assert!(b.seen()[0].body == small);
}

#[tokio::test]
async fn a_large_body_still_goes_on_when_nothing_of_it_was_sent() {
    let (mut a, b, edge) = two("").await;
    a.kill().await;
    let large = vec![7; 300_000];
    let reply = send(edge.address, request("POST", "/", &[], large.clone()))
        .await
        .unwrap();
    assert_eq!(reply.text(), "b");
    assert!(b.seen()[0].body == large);
}

#[tokio::test]
async fn a_pooled_connection_that_the_origin_closed_costs_nothing() {
    let (a, b, edge) = two("").await;
    for round in 0..5 {
        let reply = send(edge.address, request("POST", "/", &[], "x"))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "a"),
            "round {round}"
        );
        a.close_connections();
    }
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_get_on_a_reused_connection_that_is_reset_is_sent_again_on_a_fresh_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&served);
    // Answers the first request of each connection and resets at the second.
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                if !read_request(&mut stream).await {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
                read_request(&mut stream).await;
                let _ = socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO));
            });
        }
    });
    let b = FakeOrigin::start("b").await;
    let edge = Edge::in_front_of(&[("a", &url), ("b", &b.url())], "").await;
    for _ in 0..3 {
        assert_eq!(get(edge.address, "/", &[]).await.text(), "ok");
    }
    assert!(b.seen().is_empty());
    let post = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(post.status, 502, "a POST must not be sent twice");
}

async fn read_request(stream: &mut TcpStream) -> bool {
    let mut seen = Vec::new();
    let mut bytes = [0; 1024];
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut bytes).await {
            Ok(count @ 1..) => seen.extend_from_slice(&bytes[..count]),
            _ => return false,
        }
    }
    true
}

/// RST_STREAM with REFUSED_STREAM (RFC 9113 sections 6.4 and 8.7), on the stream put at 5 to 8.
const REFUSED_STREAM: &[u8] = &[0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// GOAWAY with NO_ERROR that names no stream as processed (RFC 9113 section 6.8).
const GONE_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// An HTTP/2 origin that answers the head of every stream with this frame, and stays.
async fn refusing_origin(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse(stream, answer));
        }
    });
    url
}

async fn refuse(mut stream: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    stream.write_all(SETTINGS).await?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await?;
        if head[3] == HEADERS {
            let mut answer = answer.to_vec();
            if answer == REFUSED_STREAM {
                answer[5..9].copy_from_slice(&head[5..9]);
            }
            stream.write_all(&answer).await?;
        }
    }
}

#[tokio::test]
async fn an_http2_origin_that_did_not_process_a_stream_lets_even_a_post_go_on() {
    for answer in [REFUSED_STREAM, GONE_AWAY] {
        let a = refusing_origin(answer).await;
        let b = FakeOrigin::start("b").await;
        let text = Edge::text(&[("a", &a), ("b", &b.url())], "")
            .replace("[region.a]\n", "[region.a]\nhttp = \"2\"\n");
        let edge = Edge::start(&text).await;
        edge.resolved().await;
        let reply = send(edge.address, request("POST", "/", &[], "x"))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "b"),
            "{answer:?}"
        );
        assert_eq!(b.seen()[0].body, "x");
    }
}

#[tokio::test]
async fn five_failures_in_a_row_take_a_region_out_without_waiting_for_probes() {
    let (mut a, _b, edge) = two("").await;
    a.kill().await;
    assert!(asked_until_out(&edge, "/").await >= 5);
}

/// Asks for `path`, which the second region serves, until the first one is out; gives how often. What
/// fails within 20 ms is one failure, so each request has a moment of its own.
async fn asked_until_out(edge: &Edge, path: &str) -> usize {
    let mut revisions = edge.app.board().revisions();
    let mut asked = 0;
    while edge.app.board().live().snapshot.serving.len() == 2 {
        assert_eq!(get(edge.address, path, &[]).await.text(), "b");
        asked += 1;
        let _ = timeout(Duration::from_millis(25), revisions.changed()).await;
    }
    asked
}

#[tokio::test]
async fn a_region_killed_under_load_loses_no_get() {
    let (mut a, _b, edge) = two("").await;
    let address = edge.address;
    let load: Vec<_> = (0..16)
        .map(|_| {
            tokio::spawn(async move {
                let mut replies = Vec::new();
                for _ in 0..100 {
                    replies.push(get(address, "/", &[]).await.status);
                }
                replies
            })
        })
        .collect();
    a.saw(200).await;
    a.kill().await;
    for task in load {
        assert!(task.await.unwrap().iter().all(|status| *status == 200));
    }
}

#[tokio::test]
async fn a_region_that_comes_back_before_it_was_ejected_serves_at_once() {
    let (mut a, _b, edge) = two("").await;
    a.kill().await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    a.revive().await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
}

#[tokio::test]
async fn a_viewer_whose_body_breaks_off_is_not_held_against_the_region() {
    let (a, b, edge) = two("").await;
    a.behave(Behaviour::With(Arc::new(|seen| {
        Response::new(full(seen.body))
    })));
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = b"PUT / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(head).await.unwrap();
    drop(stream);
    assert_eq!(get(edge.address, "/", &[]).await.status, 200);
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_late_get_is_answered_by_the_next_region_long_before_any_timeout() {
    let (a, b, edge) = two("").await;
    a.behave(Behaviour::Hang);
    let started = tokio::time::Instant::now();
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!((a.seen().len(), b.seen().len()), (1, 1));
    let won = edge
        .metric("meridian_hedges_total{region=\"b\",result=\"won\"}")
        .await;
    assert!((won - 1.0).abs() < f64::EPSILON, "{won}");
}

#[tokio::test]
async fn a_write_is_never_sent_twice_because_it_is_late() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let (a, b, edge) =
            two("timeouts = { first_byte = \"600ms\" }\nretry = { attempts = 1 }\n").await;
        a.behave(Behaviour::Hang);
        let reply = send(edge.address, request(method, "/", &[], "x"))
            .await
            .unwrap();
        assert_eq!(reply.status, 504, "{method}");
        assert!(b.seen().is_empty(), "{method}");
    }
}

#[tokio::test]
async fn a_late_answer_never_leaves_the_permitted_set() {
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    let more = "timeouts = { first_byte = \"600ms\" }\n[route.residency]\nDE = [\"a\"]\n";
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], more).await;
    a.behave(Behaviour::Hang);
    let reply = get(edge.address, "/", &[("cloudfront-viewer-country", "DE")]).await;
    assert_eq!(reply.status, 504);
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn lateness_five_times_in_a_row_takes_a_region_out() {
    let (a, _b, edge) = two("").await;
    a.behave(Behaviour::Hang);
    assert!(asked_until_out(&edge, "/").await >= 5);
}

#[tokio::test]
async fn a_small_body_that_breaks_off_or_stalls_is_had_from_the_next_region() {
    let half = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    for behaviour in [Behaviour::Raw(half.clone()), Behaviour::RawOpen(half)] {
        let (a, b, edge) = two("").await;
        a.behave(behaviour);
        let reply = get(edge.address, "/", &[]).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "b"));
        assert_eq!(b.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_posts_small_body_that_breaks_off_is_a_clear_error_and_not_sent_again() {
    let (a, b, edge) = two("").await;
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    a.behave(Behaviour::Raw(Bytes::from_static(half)));
    let reply = send(edge.address, request("POST", "/", &[], "x"))
        .await
        .unwrap();
    assert_eq!(reply.status, 502);
    let reason = reply.field("proxy-status");
    assert!(reason.contains("http_response_incomplete"), "{reason}");
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_path_that_no_region_serves_well_takes_none_of_them_out() {
    let (a, b, edge) = two("").await;
    a.behave(status(503, &[]));
    b.behave(status(503, &[]));
    for _ in 0..20 {
        assert_eq!(get(edge.address, "/bad", &[]).await.status, 503);
    }
    a.behave(Behaviour::Name);
    b.behave(Behaviour::Name);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
    assert_eq!(edge.app.board().live().snapshot.serving.len(), 2);
}

#[tokio::test]
async fn a_region_that_answers_503_where_another_does_not_is_taken_out() {
    let (a, _b, edge) = two("").await;
    a.behave(status(503, &[]));
    assert!(asked_until_out(&edge, "/").await >= 5);
}

#[tokio::test]
async fn a_refused_upload_over_http2_gets_its_answer_whole() {
    let (mut a, mut b, edge) = two("").await;
    a.kill().await;
    b.kill().await;
    for size in [1, 30_000] {
        for _ in 0..20 {
            let request = http::Request::post("http://test.example/")
                .body(Full::new(Bytes::from(vec![7; size])))
                .unwrap();
            let reply = send_http2(edge.address, request).await.unwrap();
            assert_eq!(reply.status, 502);
            assert!(
                reply.text().contains("No region could answer"),
                "{}",
                reply.text()
            );
        }
    }
}

#[tokio::test]
async fn a_late_get_for_which_the_budget_has_no_room_yet_is_not_left_waiting() {
    let more = "[limits]\nretry_budget = \"0%\"\nretry_budget_minimum = 1\n";
    let (a, _b, edge) = two(more).await;
    a.behave(Behaviour::Hang);
    let started = tokio::time::Instant::now();
    let address = edge.address;
    let viewers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(async move { get(address, "/", &[]).await.text() }))
        .collect();
    for viewer in viewers {
        assert_eq!(viewer.await.unwrap(), "b");
    }
    assert!(started.elapsed() < std::time::Duration::from_secs(4));
}

#[tokio::test]
async fn all_that_a_quiet_proxy_gets_while_a_region_fails_is_had_from_the_next() {
    for (name, fault) in [("503", status(503, &[])), ("reset", Behaviour::Reset)] {
        let (a, b, edge) = two("").await;
        a.behave(fault);
        // What is sent again is under way until all have failed.
        b.behave(Behaviour::Slow(std::time::Duration::from_millis(200)));
        let address = edge.address;
        let visit = |_| tokio::spawn(async move { get(address, "/", &[]).await.text() });
        let visits: Vec<_> = (0..50).map(visit).collect();
        for visit in visits {
            assert_eq!(visit.await.unwrap(), "b", "{name}");
        }
    }
}
