//! HTTP/1.1 and HTTP/2, in the clear and over TLS.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::support::authority::{Authority, viewer_certificate};
use crate::support::client::{connect_tls, raw_over, whole};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

const REQUEST: &[u8] = b"GET /x HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";

async fn with_tls(origin: &FakeOrigin, authority: &Authority, more: &str) -> Edge {
    let files = authority.certificate("edge", &["test.example"]);
    let tls = format!(
        "[[listener]]\ntls = {{ cert = {:?}, key = {:?}{more} }}\n",
        files.cert, files.key
    );
    let text = Edge::text(&[("one", &origin.url())], "").replace("[[listener]]\n", &tls);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    edge
}

#[tokio::test]
async fn a_viewer_that_offers_http2_gets_it() {
    let authority = Authority::new();
    let origin = FakeOrigin::start("one").await;
    let edge = with_tls(&origin, &authority, "").await;
    let mut viewer = authority.viewer();
    viewer.alpn = &["h2", "http/1.1"];
    let stream = connect_tls(edge.address, viewer.build(), b"")
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let request = Request::get("https://test.example/x");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let reply = whole(sender.send_request(request).await.unwrap())
            .await
            .unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    }
    let seen = &origin.seen()[0].headers;
    assert_eq!(seen["via"], "2.0 meridian");
    assert_eq!(seen["x-forwarded-proto"], "https");
    assert_eq!(edge.metric("meridian_connections_total").await, 1.0);
}

#[tokio::test]
async fn a_viewer_that_offers_less_gets_http1() {
    let authority = Authority::new();
    let origin = FakeOrigin::start("one").await;
    let edge = with_tls(&origin, &authority, "").await;
    for alpn in [&["http/1.1"][..], &[]] {
        let mut viewer = authority.viewer();
        viewer.alpn = alpn;
        let stream = connect_tls(edge.address, viewer.build(), b"")
            .await
            .unwrap();
        let answer = raw_over(stream, REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(origin.seen()[0].headers["via"], "1.1 meridian");
}

#[tokio::test]
async fn a_returning_viewer_resumes_its_session() {
    let authority = Authority::new();
    let origin = FakeOrigin::start("one").await;
    let edge = with_tls(&origin, &authority, "").await;
    let viewer = authority.viewer().build();
    for _ in 0..2 {
        let stream = connect_tls(edge.address, Arc::clone(&viewer), b"")
            .await
            .unwrap();
        let answer = raw_over(stream, REQUEST).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let handshakes = |result| format!("meridian_tls_handshakes_total{{result=\"{result}\"}}");
    assert_eq!(edge.metric(&handshakes("full")).await, 1.0);
    assert_eq!(edge.metric(&handshakes("resumed")).await, 1.0);
}

#[tokio::test]
async fn only_viewers_with_a_certificate_pass_where_one_is_asked_for() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let origin = FakeOrigin::start("one").await;
    let ca = authority.file("viewers.pem", authority.issuer.pem());
    let edge = with_tls(&origin, &authority, &format!(", client_ca = {ca:?}")).await;

    let mut known = authority.viewer();
    known.certificate = Some(viewer_certificate(&authority));
    let stream = connect_tls(edge.address, known.build(), b"").await.unwrap();
    let answer = raw_over(stream, REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let (nobody, mut foreign) = (authority.viewer(), authority.viewer());
    foreign.certificate = Some(viewer_certificate(&stranger));
    for viewer in [nobody, foreign] {
        // With TLS 1.3 a viewer learns of the refusal when it reads.
        if let Ok(stream) = connect_tls(edge.address, viewer.build(), b"").await {
            assert_eq!(raw_over(stream, REQUEST).await, "");
        }
    }
    let series = "meridian_tls_handshakes_total{result=\"viewer_certificate\"}";
    edge.counted(series, 2.0).await;
    assert_eq!(origin.seen().len(), 1);
}
