//! Several regions at once, all of them, and a thousand requests at the same instant.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_core::change::What;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::client::{get, request, send, whole};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin, Probes};
use crate::support::regions::{PATIENCE, Regions, TIMEOUTS, VIEWERS};

#[tokio::test]
async fn two_regions_that_fail_at_once_leave_all_viewers_to_the_third() {
    let mut regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.kill().await;
    regions.b.behave(Behaviour::Hang);
    regions.edge.out("a").await;
    regions.edge.out("b").await;
    let out = Instant::now();
    load.more(40).await;
    let visits = load.end().await;
    visits.no_get_was_lost_or_waited(PATIENCE);
    visits.since(out).nobody_noticed(&["c"]);
    for lost in visits.lost_posts() {
        assert!(matches!(lost.status, Some(502 | 504)), "{lost:#?}");
        assert!(lost.proxy_status.contains("not_retryable"), "{lost:#?}");
    }
    assert!(visits.lost_posts().len() <= 2 * usize::from(VIEWERS));
    regions.no_write_was_executed_twice(&visits);
    assert_eq!(regions.edge.moves("a").0, 1);
    assert_eq!(regions.edge.moves("b").0, 1);
}

#[tokio::test]
async fn all_regions_that_fail_their_probes_together_keep_their_traffic() {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    for origin in [&regions.a, &regions.b, &regions.c] {
        origin.answer_probes(Probes::Fail);
    }
    regions
        .edge
        .believes(|snapshot| snapshot.correlated_failure)
        .await;
    load.more(40).await;
    let status = regions.edge.admin("GET", "/api/v1/status").await.text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    for region in status["regions"].as_array().unwrap() {
        assert_eq!(region["health"], "unhealthy", "{region}");
        assert_eq!(region["serving"], true, "{region}");
    }
    let told = "meridian_routing_decisions_total{route=\"all\",region=\"a\",reason=\"correlated_failure\"}";
    assert!(regions.edge.metric(told).await >= 20.0);
    let history = regions.edge.app.board().journal().since(0);
    let began = What::CorrelatedFailure { began: true };
    assert!(
        history
            .changes
            .iter()
            .any(|timed| timed.change.what == began)
    );
    for origin in [&regions.a, &regions.b, &regions.c] {
        origin.answer_probes(Probes::Pass);
    }
    regions
        .edge
        .believes(|snapshot| !snapshot.correlated_failure)
        .await;
    regions.edge.stage("a", "full").await;
    let visits = load.end().await;
    visits.nobody_noticed(&["a", "b", "c"]);
    regions.no_write_was_executed_twice(&visits);
}

#[tokio::test]
async fn all_regions_down_is_a_clear_502_and_the_first_that_is_back_serves_at_once() {
    let mut regions = Regions::start("[failback]\nhold_down = \"1h\"\n").await;
    for origin in [&mut regions.a, &mut regions.b, &mut regions.c] {
        origin.kill().await;
    }
    for method in ["GET", "POST"] {
        let reply = send(regions.edge.address, request(method, "/", &[], "")).await;
        let reply = reply.unwrap();
        assert_eq!(reply.status, 502);
        let said = "meridian;error=connection_refused;next-hop=\"c\";details=\"attempts_used\"";
        assert_eq!(reply.field("proxy-status"), said);
    }
    regions
        .edge
        .believes(|snapshot| snapshot.correlated_failure)
        .await;
    regions.c.revive().await;
    assert_eq!(get(regions.edge.address, "/", &[]).await.text(), "c");
    regions.a.revive().await;
    assert_eq!(get(regions.edge.address, "/", &[]).await.text(), "a");
    regions.edge.stage("a", "full").await;
    assert_eq!(get(regions.edge.address, "/", &[]).await.text(), "a");
}

/// So many requests of one HTTP/2 connection.
const STREAMS: usize = 100;

#[tokio::test]
async fn of_a_thousand_requests_that_fail_at_once_no_more_than_the_budget_are_sent_again() {
    let (a, b) = (FakeOrigin::start("a").await, FakeOrigin::start("b").await);
    let patient = "timeouts = { connect = \"10s\", first_byte = \"10s\" }\n";
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], patient).await;
    let refusal = Bytes::from_static(b"from a");
    let status = StatusCode::SERVICE_UNAVAILABLE;
    a.behave(Behaviour::Answer(status, Vec::new(), refusal));
    // What is sent again is under way until all have failed.
    b.behave(Behaviour::Slow(Duration::from_secs(1)));
    let mut viewers = Vec::new();
    for _ in 0..10 {
        let stream = TcpStream::connect(edge.address).await.unwrap();
        let io = TokioIo::new(stream);
        let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = shaken.unwrap();
        tokio::spawn(connection);
        for _ in 0..STREAMS {
            let mut sender = sender.clone();
            viewers.push(tokio::spawn(async move {
                let request = http::Request::get("http://test.example/");
                let request = request.body(Full::<Bytes>::default()).unwrap();
                let answer: Response<_> = sender.send_request(request).await.unwrap();
                whole(answer).await.unwrap()
            }));
        }
    }
    let (mut served, mut refused) = (0, 0);
    for viewer in viewers {
        let reply = viewer.await.unwrap();
        match (reply.status, &*reply.text()) {
            (200, "b") => served += 1,
            (503, "from a") => refused += 1,
            _ => panic!("{reply:#?}"),
        }
    }
    assert_eq!(served + refused, 1000);
    // One that could not even connect is sent on for nothing, and is none of these.
    let left = "meridian_failovers_total{route=\"all\",from=\"a\",reason=\"gateway_status\"}";
    let (left, hedged) = (
        edge.metric(left).await,
        edge.sum("meridian_hedges_total").await,
    );
    let again = left + hedged;
    assert!(
        (3.0..=203.0).contains(&again),
        "{left} again, {hedged} beside"
    );
    let spent = "meridian_retry_budget_exhausted_total{region=\"a\"}";
    assert!(edge.metric(spent).await >= f64::from(refused));
}
