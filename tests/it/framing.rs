//! What belongs to one hop stays on it, and a body is whole or broken, whatever an origin does early.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::client::{get, raw, request, send, send_http2};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin, full};

/// An origin that gives `answer` to every request as soon as it has its head, and then goes on
/// reading. It says when a connection was opened.
async fn early(answer: &'static str) -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (opened, openings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let opened = opened.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 65_536];
                let Ok(count @ 1..) = stream.read(&mut bytes).await else {
                    return;
                };
                if bytes[..count].starts_with(b"GET /health") {
                    return;
                }
                let _ = opened.send(());
                stream.write_all(answer.as_bytes()).await.unwrap();
                while let Ok(1..) = stream.read(&mut bytes).await {}
            });
        }
    });
    (url, openings)
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end.as_bytes()) {
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn an_upload_that_moves_on_in_the_middle_arrives_whole() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 6\r\n\r\nfrom a";
    let (a, mut opened) = early(answer).await;
    let b = FakeOrigin::start("b").await;
    b.behave(Behaviour::With(Arc::new(|seen| {
        Response::new(full(format!("{} bytes", seen.body.len())))
    })));
    let edge = Edge::in_front_of(&[("a", &a), ("b", &b.url())], "").await;
    let connections = b.connections();
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = "PUT / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = |byte: u8| [b"8000\r\n", [byte; 0x8000].as_slice(), b"\r\n"].concat();
    stream.write_all(&chunk(b'0')).await.unwrap();
    opened.recv().await.unwrap();
    // The rest comes when the second region has the request.
    while b.connections() == connections {
        tokio::task::yield_now().await;
    }
    for byte in b"123456789" {
        stream.write_all(&chunk(*byte)).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let reply = read_until(&mut stream, " bytes").await;
    assert!(reply.ends_with("327680 bytes"), "{reply}");
    let body = &b.seen()[0].body;
    let whole: Vec<u8> = (b'0'..=b'9').flat_map(|byte| [byte; 0x8000]).collect();
    assert!(*body == whole, "the body was mixed up");
}

#[tokio::test]
async fn a_connection_that_answered_before_it_had_the_request_is_not_used_again() {
    let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
    let (url, mut opened) = early(answer).await;
    let edge = Edge::in_front_of(&[("one", &url)], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 10\r\n\r\nhalf";
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = read_until(&mut stream, "big").await;
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    opened.recv().await.unwrap();
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (413, "big"));
    opened.try_recv().expect("a connection of its own");
    let reused = "meridian_upstream_connections_reused_total{region=\"one\"}";
    assert!(edge.metric(reused).await < 1.0);
}

#[tokio::test]
async fn a_get_with_a_body_of_unknown_length_keeps_it() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let answer = raw(
        edge.address,
        b"GET /search HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\
          Connection: close\r\n\r\n5\r\nquery\r\n0\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = &origin.seen()[0];
    assert_eq!((seen.method.as_str(), &*seen.body), ("GET", &b"query"[..]));
}

#[tokio::test]
async fn the_crumbs_of_a_cookie_are_one_field_for_an_http1_origin() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let request = http::Request::builder()
        .uri("http://test.example/")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("cookie", "c=3")
        .body(Full::<Bytes>::default())
        .unwrap();
    assert_eq!(send_http2(edge.address, request).await.unwrap().status, 200);
    let seen = &origin.seen()[0].headers;
    let cookies: Vec<_> = seen.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[tokio::test]
async fn an_offer_of_h2c_does_not_pass() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let fields = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "websocket, h2c"),
        ("http2-settings", "AAMAAABkAAQAAP__"),
    ];
    assert_eq!(get(edge.address, "/", &fields).await.status, 200);
    let seen = &origin.seen()[0].headers;
    for name in ["connection", "upgrade", "http2-settings"] {
        assert!(!seen.contains_key(name), "{name} passed");
    }
}

#[tokio::test]
async fn what_follows_an_early_answer_stays_the_body_of_its_request() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
    let (url, mut opened) = early(answer).await;
    let edge = Edge::in_front_of(&[("one", &url)], "").await;
    let inner = "GET /inner HTTP/1.1\r\nHost: test.example\r\n\r\n";
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: test.example\r\nContent-Length: {}\r\n\r\n",
        inner.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut stream, "early").await;
    // Longer than an idle connection keeps its buffers: nothing in the proxy says that it is over.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    stream.write_all(inner.as_bytes()).await.unwrap();
    let outer = "GET /outer HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
    stream.write_all(outer.as_bytes()).await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest.matches("early").count(), 1, "{rest}");
    for _ in 0..2 {
        opened.recv().await.unwrap();
    }
    assert!(opened.try_recv().is_err(), "a body was taken for a request");
}

#[tokio::test]
async fn a_coding_that_would_be_lost_on_the_way_is_refused() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    for codings in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n{codings}\r\n\r\n\
             1\r\nx\r\n0\r\n\r\n"
        );
        let answer = raw(edge.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 501"), "{codings}: {answer}");
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_request_with_a_body_stays_in_http() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    let reply = send(edge.address, request("GET", "/", &fields, "body")).await;
    assert_eq!(reply.unwrap().status, 200);
    let seen = &origin.seen()[0];
    assert!(!seen.headers.contains_key("upgrade"));
}

#[tokio::test]
async fn a_name_in_a_list_is_read_beside_what_is_no_text() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let request =
        b"GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\nConnection: x-b, \xff\r\nX-B: 1\r\n\r\n";
    let answer = raw(edge.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!origin.seen()[0].headers.contains_key("x-b"));
}

#[tokio::test]
async fn a_post_that_offers_another_protocol_is_still_sent_once() {
    let a = FakeOrigin::start("a").await;
    let b = FakeOrigin::start("b").await;
    a.behave(Behaviour::Hang);
    let more = "timeouts = { first_byte = \"100ms\" }\n";
    let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], more).await;
    let offers = [
        &[("upgrade", "websocket")][..],
        &[("upgrade", "websocket"), ("connection", "upgrade")],
    ];
    for fields in offers {
        let reply = send(edge.address, request("POST", "/", fields, "x"));
        assert_eq!(reply.await.unwrap().status, 504, "{fields:?}");
    }
    assert!(b.seen().is_empty());
}

#[tokio::test]
async fn a_switch_that_nobody_asked_for_is_a_bad_gateway() {
    let origin = FakeOrigin::start("one").await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    origin.behave(Behaviour::RawOpen(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    assert_eq!(get(edge.address, "/", &[]).await.status, 502);
}

#[tokio::test]
async fn an_authority_with_a_user_is_bad() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let request = "GET http://test.example@other.example/ HTTP/1.1\r\nHost: test.example\r\n\
        Connection: close\r\n\r\n";
    let answer = raw(edge.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn an_answer_without_a_body_is_a_whole_answer_in_the_log() {
    let plain = FakeOrigin::start("a").await;
    let http2 = FakeOrigin::start_http2("a").await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    for (origin, settings) in [(&plain, ""), (&http2, "http = \"2\"\n")] {
        let written = format!("[access_log]\nenabled = true\npath = {log:?}\n");
        let text = Edge::text(&[("a", &origin.url())], "")
            .replace("[access_log]\nenabled = false\n", &written)
            .replace("[region.a]\n", &format!("[region.a]\n{settings}"));
        let edge = Edge::start(&text).await;
        edge.resolved().await;
        for code in [200, 204, 304] {
            let status = StatusCode::from_u16(code).unwrap();
            origin.behave(Behaviour::Answer(status, Vec::new(), Bytes::new()));
            for method in ["GET", "HEAD"] {
                let reply = send(edge.address, request(method, "/", &[], "")).await;
                assert_eq!(reply.unwrap().status, code);
                let request = http::Request::builder()
                    .method(method)
                    .uri("http://test.example/")
                    .body(Full::<Bytes>::default())
                    .unwrap();
                let reply = send_http2(edge.address, request).await;
                assert_eq!(reply.unwrap().status, code);
            }
        }
        let limit = std::time::Duration::from_secs(10);
        let lines = tokio::time::timeout(limit, async {
            loop {
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                if text.lines().count() >= 12 {
                    return text;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        let lines = lines.await.unwrap();
        assert!(!lines.contains("viewer_left"), "{lines}");
        std::fs::remove_file(&log).unwrap();
    }
}

#[tokio::test]
async fn an_origin_that_answered_and_does_nothing_more_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap_or_default();
                if bytes[..count].starts_with(b"GET /health") {
                    return;
                }
                let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig";
                stream.write_all(answer.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            });
        }
    });
    let more = "timeouts = { body_progress = \"300ms\" }\n";
    let edge = Edge::in_front_of(&[("one", &url)], more).await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut answers, mut uploads) = stream.into_split();
    let upload = tokio::spawn(async move {
        let block = vec![0; 65_536];
        while uploads.write_all(&block).await.is_ok() {}
    });
    let mut bytes = [0; 4096];
    assert!(answers.read(&mut bytes).await.unwrap() > 0);
    let limit = std::time::Duration::from_secs(10);
    // What the viewer still sends is no longer wanted by anyone then.
    let end = tokio::time::timeout(limit, upload).await;
    end.expect("the connection was kept").unwrap();
}
