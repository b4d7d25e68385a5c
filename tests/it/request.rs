//! What a viewer sends arrives, and what an origin answers comes back, as HTTP means it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::support::client::{get, raw, request, send, send_http2, whole};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin, frames, full};

#[tokio::test]
async fn a_get_reaches_the_first_region_and_its_answer_comes_back() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let reply = get(edge.address, "/v1/x?a=b", &[("x-mine", "kept")]).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    let seen = &origin.seen()[0];
    assert_eq!(seen.path, "/v1/x?a=b");
    assert_eq!(seen.headers["host"], "test.example");
    assert_eq!(seen.headers["x-mine"], "kept");
}

#[tokio::test]
async fn an_origin_learns_of_the_viewer_and_of_us() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let fields = [
        ("cloudfront-viewer-country", "JP"),
        ("x-forwarded-for", "198.51.100.7"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
    ];
    get(edge.address, "/", &fields).await;
    let headers = &origin.seen()[0].headers;
    assert_eq!(headers["x-viewer-country"], "JP");
    assert_eq!(headers["x-forwarded-for"], "198.51.100.7, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"], "http");
    assert_eq!(headers["x-forwarded-host"], "test.example");
    assert_eq!(headers["via"], "1.1 meridian");
    assert_eq!(headers["cdn-loop"], "meridian");
    assert_eq!(headers["x-request-id"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn fields_of_one_hop_do_not_pass_either_way() {
    let origin = FakeOrigin::start("one").await;
    let fields = vec![
        ("connection", "x-private".to_owned()),
        ("x-private", "1".to_owned()),
        ("keep-alive", "timeout=5".to_owned()),
        ("x-public", "2".to_owned()),
    ];
    origin.behave(Behaviour::Answer(
        StatusCode::OK,
        fields,
        Bytes::from("body"),
    ));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let fields = [
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "gzip"),
        ("upgrade", "h2c"),
    ];
    let reply = get(edge.address, "/", &fields).await;
    assert_eq!(reply.field("x-public"), "2");
    assert!(!reply.headers.contains_key("x-private") && !reply.headers.contains_key("keep-alive"));
    let seen = &origin.seen()[0].headers;
    for name in ["x-hop", "te", "upgrade", "connection"] {
        assert!(!seen.contains_key(name), "{name} passed");
    }
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let reply = send(edge.address, request("HEAD", "/", &[], ""))
        .await
        .unwrap();
    assert_eq!((reply.status, reply.field("content-length")), (200, "3"));
    assert!(reply.body.is_empty());
}

#[tokio::test]
async fn no_content_and_not_modified_have_no_body_and_keep_the_connection() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
        let fields = vec![("etag", "\"a\"".to_owned())];
        origin.behave(Behaviour::Answer(status, fields, Bytes::new()));
        let stream = TcpStream::connect(edge.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            sender.ready().await.unwrap();
            let response = sender
                .send_request(request("GET", "/", &[], ""))
                .await
                .unwrap();
            let reply = whole(response).await.unwrap();
            assert_eq!(reply.status, status);
            assert_eq!(reply.field("etag"), "\"a\"");
            assert!(reply.body.is_empty());
        }
    }
}

#[tokio::test]
async fn a_post_body_arrives_whole_and_its_echo_too() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(Behaviour::Echo);
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let body: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
    let reply = send(edge.address, request("POST", "/", &[], body.clone()))
        .await
        .unwrap();
    assert_eq!(reply.status, 200);
    assert!(
        reply.body == body,
        "the echo differs: {} bytes",
        reply.body.len()
    );
}

#[tokio::test]
async fn http2_viewers_are_served_by_prior_knowledge() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let request = http::Request::builder()
        .uri(format!("http://test.example:{}/x", edge.address.port()))
        .body(Full::default())
        .unwrap();
    let reply = send_http2(edge.address, request).await.unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    let seen = &origin.seen()[0];
    assert_eq!(
        seen.headers["host"],
        format!("test.example:{}", edge.address.port())
    );
    assert_eq!(seen.headers["via"], "2.0 meridian");
}

#[tokio::test]
async fn http2_origins_are_spoken_to_by_prior_knowledge_over_one_connection() {
    let origin = FakeOrigin::start_http2("one").await;
    let text = Edge::text(&[("one", &origin.url())], "")
        .replace("[region.one]\n", "[region.one]\nhttp = \"2\"\n");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let requests = (0..20).map(|_| get(edge.address, "/x", &[]));
    for reply in futures_join(requests).await {
        assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    }
    assert_eq!(origin.seen()[0].authority.as_deref(), Some("test.example"));
    // One for requests and one for probes.
    assert!(
        origin.connections() <= 2,
        "{} connections",
        origin.connections()
    );
}

async fn futures_join<F>(futures: impl Iterator<Item = F>) -> Vec<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let tasks: Vec<_> = futures.map(tokio::spawn).collect();
    let mut outputs = Vec::new();
    for task in tasks {
        outputs.push(task.await.unwrap());
    }
    outputs
}

#[tokio::test]
async fn grpc_trailers_pass_from_http2_to_http2() {
    let origin = FakeOrigin::start_http2("one").await;
    origin.behave(Behaviour::With(Arc::new(|seen| {
        assert_eq!(seen.headers["te"], "trailers");
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("0"),
        )]);
        let message = Ok(Frame::data(seen.body));
        Response::new(frames(vec![message, Ok(Frame::trailers(trailers))]))
    })));
    let text = Edge::text(&[("one", &origin.url())], "")
        .replace("[region.one]\n", "[region.one]\nhttp = \"2\"\n");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let request = http::Request::builder()
        .method("POST")
        .uri(format!(
            "http://test.example:{}/pkg.Service/Call",
            edge.address.port()
        ))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(b"\0\0\0\0\x01x")))
        .unwrap();
    let reply = send_http2(edge.address, request).await.unwrap();
    assert_eq!(reply.body, "\0\0\0\0\x01x");
    assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn a_grpc_stream_passes_messages_both_ways_before_either_side_ends() {
    let origin = FakeOrigin::start_http2("one").await;
    origin.behave(Behaviour::Echo);
    let text = Edge::text(&[("one", &origin.url())], "")
        .replace("[region.one]\n", "[region.one]\nhttp = \"2\"\n");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let (messages, body) = channel_body();
    let request = http::Request::builder()
        .method("POST")
        .uri("http://test.example/pkg.Service/Chat")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    messages
        .send(Frame::data(Bytes::from_static(b"first")))
        .await
        .unwrap();
    let mut response = sender.send_request(request).await.unwrap().into_body();
    for message in ["first", "second", "third"] {
        if message != "first" {
            messages
                .send(Frame::data(Bytes::from_static(message.as_bytes())))
                .await
                .unwrap();
        }
        let frame = response.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), message);
    }
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-checksum"),
        HeaderValue::from_static("7"),
    )]);
    messages.send(Frame::trailers(trailers)).await.unwrap();
    drop(messages);
    let frame = response.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap()["x-checksum"], "7");
}

/// A body of the frames that are sent into the channel.
fn channel_body() -> (mpsc::Sender<Frame<Bytes>>, StreamBody<Frames>) {
    let (sender, receiver) = mpsc::channel(4);
    (sender, StreamBody::new(Frames(receiver)))
}

struct Frames(mpsc::Receiver<Frame<Bytes>>);

impl futures_core::Stream for Frames {
    type Item = Result<Frame<Bytes>, std::convert::Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

#[tokio::test]
async fn a_websocket_passes_bytes_both_ways_until_it_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let count = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
                if !head.contains("upgrade: websocket") {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                        .await;
                    return;
                }
                assert!(head.contains("connection: upgrade"), "{head}");
                assert!(head.contains("sec-websocket-key: k"), "{head}");
                let switching = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Accept: a\r\n\r\nhello";
                stream.write_all(switching).await.unwrap();
                let mut bytes = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    stream.write_all(&bytes[..count]).await.unwrap();
                }
            });
        }
    });
    let edge = Edge::in_front_of(&[("one", &url)], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let handshake =
        b"GET /chat HTTP/1.1\r\nHost: test.example\r\nConnection: keep-alive, Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    stream.write_all(handshake).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"hello") {
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(
            count > 0,
            "closed after {:?}",
            String::from_utf8_lossy(&seen)
        );
        seen.extend_from_slice(&bytes[..count]);
    }
    let head = String::from_utf8_lossy(&seen).to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("sec-websocket-accept: a"),
        "{head}"
    );
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut echo).await.unwrap(), 0);
}

#[tokio::test]
async fn expect_continue_is_answered_when_an_origin_takes_the_body() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(Behaviour::Echo);
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 4\r\n\
        Expect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut seen = vec![0; 25];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("body"),
        "{answer}"
    );
    assert!(!origin.seen()[0].headers.contains_key("expect"));
}

#[tokio::test]
async fn a_request_that_came_through_us_before_is_refused() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let reply = get(edge.address, "/", &[("cdn-loop", "other;v=1, Meridian")]).await;
    assert_eq!(reply.status, 508);
    assert_eq!(
        reply.field("proxy-status"),
        "meridian;error=proxy_loop_detected"
    );
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_path_without_a_route_is_not_found() {
    let origin = FakeOrigin::start("one").await;
    let text =
        Edge::text(&[("one", &origin.url())], "").replace("path = \"/\"", "path = \"/api/\"");
    let edge = Edge::start(&text).await;
    let reply = get(edge.address, "/other", &[]).await;
    assert_eq!(reply.status, 404);
    assert_eq!(
        reply.field("proxy-status"),
        "meridian;error=destination_not_found"
    );
}

#[tokio::test]
async fn a_request_without_host_or_with_two_is_bad() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    for request in [
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(edge.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_response_that_breaks_off_never_looks_complete() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        origin.behave(Behaviour::Raw(Bytes::from_static(half.as_bytes())));
        let answer = send(edge.address, request("GET", "/", &[], "")).await;
        assert!(answer.is_err(), "looked complete: {answer:?}");
    }
}

#[tokio::test]
async fn a_response_body_that_stands_still_is_broken_off() {
    let origin = FakeOrigin::start("one").await;
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    origin.behave(Behaviour::RawOpen(Bytes::from_static(half.as_bytes())));
    let more = "timeouts = { body_progress = \"100ms\" }\n";
    let edge = Edge::in_front_of(&[("one", &origin.url())], more).await;
    assert!(
        send(edge.address, request("GET", "/", &[], ""))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn interim_responses_do_not_end_a_request() {
    let origin = FakeOrigin::start("one").await;
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone";
    origin.behave(Behaviour::RawOpen(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "done"));
}

#[tokio::test]
async fn connections_to_an_origin_are_reused() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    for _ in 0..10 {
        assert_eq!(get(edge.address, "/", &[]).await.status, 200);
    }
    // One for requests and one for probes.
    assert!(
        origin.connections() <= 2,
        "{} connections",
        origin.connections()
    );
}

#[tokio::test]
async fn the_host_an_origin_gets_can_be_its_own_or_fixed() {
    for (setting, expected) in [("origin", None), ("fixed.example", Some("fixed.example"))] {
        let origin = FakeOrigin::start("one").await;
        let text = Edge::text(&[("one", &origin.url())], "").replace(
            "[region.one]\n",
            &format!("[region.one]\nhost = \"{setting}\"\n"),
        );
        let edge = Edge::start(&text).await;
        edge.resolved().await;
        get(edge.address, "/", &[]).await;
        let own = origin.address.to_string();
        assert_eq!(origin.seen()[0].headers["host"], expected.unwrap_or(&own));
    }
}

#[tokio::test]
async fn a_viewers_chunked_body_keeps_its_trailers_over_http1() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(Behaviour::With(Arc::new(|seen| {
        Response::new(full(seen.body))
    })));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let answer = raw(
        edge.address,
        b"POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\
          Trailer: x-sum\r\nConnection: close\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 7\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("body"),
        "{answer}"
    );
}

#[tokio::test]
async fn trailers_bring_no_field_that_only_a_head_may_have() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (posts, mut posted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let whole = |request: &[u8]| {
                request.ends_with(b"\r\n\r\n")
                    && (!request.starts_with(b"POST")
                        || request.windows(5).any(|w| w == b"\r\n0\r\n"))
            };
            while !whole(&request) && stream.read_buf(&mut request).await.unwrap() > 0 {}
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            if request.starts_with(b"POST") {
                posts
                    .send(String::from_utf8(request).unwrap().to_ascii_lowercase())
                    .unwrap();
            }
        }
    });
    let edge = Edge::in_front_of(&[("one", &url)], "").await;
    let names = "X-Sum, X-Forwarded-For, cloudfront_viewer_country, Cookie";
    let request = format!(
        "POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\nTrailer: {names}\r\n\
         Connection: close\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\
         cloudfront_viewer_country: XX\r\nCookie: spoofed\r\n\r\n"
    );
    let answer = raw(edge.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let seen = posted.recv().await.unwrap();
    let (_, trailers) = seen.split_once("\r\n0\r\n").unwrap();
    assert_eq!(trailers, "x-sum: 7\r\n\r\n");
}

#[tokio::test]
async fn a_write_without_a_body_says_so_to_an_origin() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    // POST / over http for the authority `a`, with the end of its stream and no length.
    let head = b"\0\0\x06\x01\x05\0\0\0\x01\x83\x84\x86\x01\x01a";
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream
        .write_all(&[&preface[..], head].concat())
        .await
        .unwrap();
    origin.saw(1).await;
    raw(
        edge.address,
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    get(edge.address, "/", &[]).await;
    let lengths: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.headers.get("content-length").cloned())
        .collect();
    let zero = Some(HeaderValue::from_static("0"));
    assert_eq!(lengths, [zero.clone(), zero, None]);
}
