//! What an origin says of its body is checked: a broken answer never looks whole.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::client::{get, send_http2};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};

/// An HTTP/2 origin that sends half a body and, once it is told to, resets the stream as if nothing
/// were wrong.
async fn resets_with_no_error(length: Option<&'static str>) -> (String, Arc<Notify>) {
    let now = Arc::new(Notify::new());
    let told = Arc::clone(&now);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut head = Response::builder();
                    if let Some(length) = length {
                        head = head.header("content-length", length);
                    }
                    let head = head.body(()).unwrap();
                    let mut body = respond.send_response(head, false).unwrap();
                    body.send_data(Bytes::from_static(b"half"), false).unwrap();
                    let told = Arc::clone(&told);
                    tokio::spawn(async move {
                        told.notified().await;
                        body.send_reset(h2::Reason::NO_ERROR);
                    });
                }
            });
        }
    });
    (url, now)
}

async fn in_front_of_http2(url: &str) -> Edge {
    let text = Edge::text(&[("a", url)], "").replace("[region.a]\n", "[region.a]\nhttp = \"2\"\n");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    edge
}

#[tokio::test]
async fn a_stream_reset_with_no_error_is_a_broken_body() {
    for length in [None, Some("8")] {
        let (url, reset) = resets_with_no_error(length).await;
        let edge = in_front_of_http2(&url).await;
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"half") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        reset.notify_one();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"));
        let request = http::Request::get("http://test.example/")
            .body(Full::<Bytes>::default())
            .unwrap();
        reset.notify_one();
        assert!(send_http2(edge.address, request).await.is_err());
    }
}

#[tokio::test]
async fn trailers_of_an_http2_origin_still_end_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let mut body = respond.send_response(Response::new(()), false).unwrap();
                    body.send_data(Bytes::from_static(b"whole"), false).unwrap();
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", "0".parse().unwrap());
                    body.send_trailers(trailers).unwrap();
                }
            });
        }
    });
    let edge = in_front_of_http2(&url).await;
    let request = http::Request::get("http://test.example/")
        .header("te", "trailers")
        .body(Full::<Bytes>::default())
        .unwrap();
    let reply = send_http2(edge.address, request).await.unwrap();
    assert_eq!(reply.text(), "whole");
    assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn an_upload_whose_stream_was_reset_with_no_error_does_not_arrive_whole() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::put("http://test.example/").body(()).unwrap();
    let (_answer, mut body) = sender.send_request(request, false).unwrap();
    body.send_data(Bytes::from_static(b"half"), false).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    body.send_reset(h2::Reason::NO_ERROR);
    let again = http::Request::get("http://test.example/").body(()).unwrap();
    let (answer, _) = sender.send_request(again, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    let bodies: Vec<_> = origin.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(bodies, ["GET"]);
}

#[tokio::test]
async fn an_answer_framed_in_two_ways_is_a_bad_gateway_and_fails_over() {
    let heads = [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: 5, 6",
    ];
    for head in heads {
        let a = FakeOrigin::start("a").await;
        let b = FakeOrigin::start("b").await;
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nwhole\r\n0\r\n\r\n");
        a.behave(Behaviour::Raw(Bytes::from(answer)));
        let alone = Edge::in_front_of(&[("a", &a.url())], "").await;
        assert_eq!(get(alone.address, "/", &[]).await.status, 502, "{head}");
        let edge = Edge::in_front_of(&[("a", &a.url()), ("b", &b.url())], "").await;
        assert_eq!(get(edge.address, "/", &[]).await.text(), "b", "{head}");
    }
}

#[tokio::test]
async fn trailers_that_belong_to_one_hop_cost_an_http2_viewer_nothing() {
    let origin = FakeOrigin::start("a").await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\
        Connection: close\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\nX-Sum: 1\r\n\r\n";
    origin.behave(Behaviour::Raw(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("a", &origin.url())], "").await;
    let request = http::Request::builder().uri("http://test.example/");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let reply = send_http2(edge.address, request).await.unwrap();
    assert_eq!((reply.status, &*reply.text()), (200, "ok"));
    let trailers = reply.trailers.unwrap();
    assert_eq!(trailers.keys().collect::<Vec<_>>(), ["x-sum"]);
}

#[tokio::test]
async fn an_answer_without_content_has_no_length() {
    let origin = FakeOrigin::start("a").await;
    let answer = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
    origin.behave(Behaviour::Raw(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("a", &origin.url())], "").await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!(reply.status, 204);
    assert!(!reply.headers.contains_key("content-length"));
}

#[tokio::test]
async fn a_length_that_is_said_twice_is_passed_once() {
    let origin = FakeOrigin::start("a").await;
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nwhole";
    origin.behave(Behaviour::Raw(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("a", &origin.url())], "").await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!(
        (reply.field("content-length"), &*reply.text()),
        ("5", "whole")
    );
}

#[tokio::test]
async fn a_switch_to_another_protocol_than_was_asked_for_is_a_bad_gateway() {
    let origin = FakeOrigin::start("one").await;
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n";
    origin.behave(Behaviour::RawOpen(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let fields = [("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(get(edge.address, "/", &fields).await.status, 502);
}

#[tokio::test]
async fn an_http10_viewer_sees_a_broken_body_as_a_reset() {
    let origin = FakeOrigin::start("one").await;
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    origin.behave(Behaviour::Raw(Bytes::from_static(answer.as_bytes())));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let ask = b"GET / HTTP/1.0\r\nHost: test.example\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, ask)
        .await
        .unwrap();
    let mut seen = Vec::new();
    let error = stream.read_to_end(&mut seen).await;
    let kind = error.expect_err("a clean end").kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_flood_of_interim_answers_is_a_bad_gateway() {
    let origin = FakeOrigin::start("one").await;
    let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(400_000);
    origin.behave(Behaviour::RawOpen(Bytes::from(flood)));
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    assert_eq!(get(edge.address, "/", &[]).await.status, 502);
    let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(3);
    let answer = format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    origin.behave(Behaviour::RawOpen(Bytes::from(answer)));
    assert_eq!(get(edge.address, "/", &[]).await.text(), "ok");
}
