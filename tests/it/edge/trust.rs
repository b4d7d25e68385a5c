//! Who may say where a viewer is.

use std::net::SocketAddr;

use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::support::authority::Authority;
use crate::support::client::{connect_tls, get, raw, raw_over};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

/// In Japan, says the built-in table.
const JAPANESE: &str = "210.150.0.1:4711";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";

fn v1(viewer: &str) -> Vec<u8> {
    let viewer: SocketAddr = viewer.parse().unwrap();
    let (address, port) = (viewer.ip(), viewer.port());
    format!("PROXY TCP4 {address} 192.0.2.1 {port} 443\r\n").into()
}

fn v2(viewer: &str) -> Vec<u8> {
    let destination = "192.0.2.1:443".parse().unwrap();
    let address = ProxiedAddress::stream(viewer.parse().unwrap(), destination);
    let mut bytes = vec![0; 256];
    let length = ProxyHeader::with_address(address)
        .encode_to_slice_v2(&mut bytes)
        .unwrap();
    bytes.truncate(length);
    bytes
}

/// A proxy whose listener has these lines instead of its `trusted_peers`.
async fn with_listener(origin: &FakeOrigin, lines: &str) -> Edge {
    let text = Edge::text(&[("one", &origin.url())], "")
        .replace("trusted_peers = [\"127.0.0.0/8\"]\n", lines);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    edge
}

const BEHIND_A_BALANCER: &str = "trusted_peers = [\"127.0.0.0/8\"]\nproxy_protocol = \"v1v2\"\n";

#[tokio::test]
async fn a_proxy_header_names_the_viewer_on_a_plain_listener() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_listener(&origin, BEHIND_A_BALANCER).await;
    for header in [v1(JAPANESE), v2(JAPANESE)] {
        let bytes = [&header[..], REQUEST.as_bytes()].concat();
        let answer = raw(edge.address, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = origin.seen().pop().unwrap().headers;
        assert_eq!(seen["x-viewer-country"], "JP");
        assert_eq!(seen["x-forwarded-for"], "210.150.0.1");
    }
}

#[tokio::test]
async fn a_proxy_header_names_the_viewer_before_tls() {
    let authority = Authority::new();
    let files = authority.certificate("edge", &["test.example"]);
    let tls = format!(
        "{BEHIND_A_BALANCER}tls = {{ cert = {:?}, key = {:?} }}\n",
        files.cert, files.key
    );
    let origin = FakeOrigin::start("one").await;
    let edge = with_listener(&origin, &tls).await;
    for header in [v1(JAPANESE), v2(JAPANESE)] {
        let viewer = authority.viewer().build();
        let stream = connect_tls(edge.address, viewer, &header).await.unwrap();
        let answer = raw_over(stream, REQUEST.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let seen = origin.seen().pop().unwrap().headers;
        assert_eq!(seen["x-viewer-country"], "JP");
        assert_eq!(seen["x-forwarded-for"], "210.150.0.1");
        assert_eq!(seen["x-forwarded-proto"], "https");
    }
}

#[tokio::test]
async fn a_viewer_behind_a_balancer_does_not_choose_its_country() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_listener(&origin, BEHIND_A_BALANCER).await;
    let request = "GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\
        CloudFront-Viewer-Country: DE\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n";
    let bytes = [&v2(JAPANESE)[..], request.as_bytes()].concat();
    raw(edge.address, &bytes).await;
    let seen = origin.seen().pop().unwrap().headers;
    assert_eq!(seen["x-viewer-country"], "JP");
    assert!(!seen.contains_key("cloudfront-viewer-country"));
    assert!(
        !seen["x-forwarded-for"]
            .to_str()
            .unwrap()
            .contains("192.0.2.9")
    );
    let series = "meridian_viewer_headers_stripped_total";
    edge.counted(series, 1.0).await;
}

#[tokio::test]
async fn a_trusted_peer_without_a_proxy_header_is_turned_away() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_listener(&origin, BEHIND_A_BALANCER).await;
    assert_eq!(raw(edge.address, REQUEST.as_bytes()).await, "");
    let series = "meridian_proxy_header_failures_total{reason=\"malformed\"}";
    edge.counted(series, 1.0).await;
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_proxy_header_of_a_stranger_is_rubbish() {
    let origin = FakeOrigin::start("one").await;
    let lines = "trusted_peers = [\"10.0.0.0/8\"]\nproxy_protocol = \"v1v2\"\n";
    let edge = with_listener(&origin, lines).await;
    for header in [v1(JAPANESE), v2(JAPANESE)] {
        let bytes = [&header[..], REQUEST.as_bytes()].concat();
        let answer = raw(edge.address, &bytes).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
    }
    assert!(origin.seen().is_empty());
    let answer = raw(edge.address, REQUEST.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_a_stranger_says_of_its_country_is_removed_and_counted() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_listener(&origin, "").await;
    let fields = [
        ("cloudfront-viewer-country", "JP"),
        ("cloudfront-viewer-address", "210.150.0.1:4711"),
        ("x-viewer-country", "JP"),
        ("x-forwarded-for", "210.150.0.1"),
        ("x-real-ip", "210.150.0.1"),
        ("x_forwarded_for", "210.150.0.1"),
        ("x-forwarded-prefix", "/admin"),
    ];
    get(edge.address, "/", &fields).await;
    let seen = origin.seen().pop().unwrap().headers;
    assert!(
        seen.keys()
            .all(|name| !name.as_str().starts_with("cloudfront-"))
    );
    assert_ne!(
        seen.get("x-viewer-country").map(|it| it.as_bytes()),
        Some(&b"JP"[..])
    );
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    for name in ["x-real-ip", "x_forwarded_for", "x-forwarded-prefix"] {
        assert!(!seen.contains_key(name), "{name}");
    }
    edge.counted("meridian_viewer_headers_stripped_total", 6.0)
        .await;
}
