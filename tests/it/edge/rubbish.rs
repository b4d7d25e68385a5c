//! What is no HTTP, or HTTP meant in two ways, ends a connection and reaches no origin.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{get, raw};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

async fn start() -> (FakeOrigin, Edge) {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    (origin, edge)
}

#[tokio::test]
async fn a_request_framed_in_two_ways_is_refused() {
    let (origin, edge) = start().await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n";
    let requests = [
        format!("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc{smuggled}"),
        format!("Content-Length: 3, 4\r\n\r\nabc{smuggled}"),
        format!("Content-Length: +3\r\n\r\nabc{smuggled}"),
        format!("Content-Length: 3\r\nTransfer-Encoding: xchunked\r\n\r\nabc{smuggled}"),
        format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("Transfer-Encoding: identity\r\n\r\nabc{smuggled}"),
        format!("Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
    ];
    for (count, request) in requests.iter().enumerate() {
        let request = format!("POST / HTTP/1.1\r\nHost: test.example\r\n{request}");
        let answer = raw(edge.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{request}\n{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{request}\n{answer}");
        let series = "meridian_connection_ends_total{end=\"bad_request\"}";
        edge.counted(series, (count + 1) as f64).await;
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
}

#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let (origin, edge) = start().await;
    // A proxy that read this by its length would see one request, one that reads chunks two.
    let request = "POST /first HTTP/1.1\r\nHost: test.example\r\nContent-Length: 60\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
        GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n";
    let answer = raw(edge.address, request.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    for seen in origin.seen() {
        assert_eq!(
            (seen.method.as_str(), seen.path.as_str()),
            ("POST", "/first")
        );
        assert!(seen.body.is_empty());
        let length = seen.headers.get("content-length");
        assert!(length.is_none() || !seen.headers.contains_key("transfer-encoding"));
    }
}

#[tokio::test]
async fn chunks_that_are_none_break_the_request_off() {
    let (origin, edge) = start().await;
    for chunks in [
        "zz\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        for method in ["POST", "GET"] {
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            );
            let answer = raw(edge.address, request.as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 400"),
                "{method} {chunks:?}: {answer}"
            );
        }
    }
    assert!(origin.seen().is_empty(), "{:?}", origin.seen());
    assert_eq!(get(edge.address, "/", &[]).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let (origin, edge) = start().await;
    let long = format!("x-long: {}\r\n", "a".repeat(70 << 10));
    let many: String = (0..110).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (count, fields) in [long, many].iter().enumerate() {
        let request = format!("GET / HTTP/1.1\r\nHost: test.example\r\n{fields}\r\n");
        let answer = raw(edge.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer:?}");
        let series = "meridian_connection_ends_total{end=\"head_too_large\"}";
        edge.counted(series, (count + 1) as f64).await;
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn bytes_that_are_no_request_are_answered_with_400() {
    let (origin, edge) = start().await;
    let requests = [
        &b"G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx y: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: a\x00b\r\n\r\n",
        b"GET / HTTP/7.1\r\nHost: a\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ];
    for request in requests {
        let answer = raw(edge.address, request).await;
        let shown = String::from_utf8_lossy(request);
        assert!(answer.starts_with("HTTP/1.1 400"), "{shown:?}: {answer:?}");
    }
    let series = "meridian_connection_ends_total{end=\"bad_request\"}";
    edge.counted(series, requests.len() as f64).await;
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_flood_of_streams_that_are_reset_at_once_ends_the_connection() {
    let (_origin, edge) = start().await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    // GET / over http for the authority `a`, by HPACK's static table (RFC 7541, appendix A).
    let head = [0x82, 0x84, 0x86, 0x01, 1, b'a'];
    for number in 0..2000 {
        flood.extend(frame(1, 0b101, 2 * number + 1, &head));
        flood.extend(frame(3, 0, 2 * number + 1, &[0, 0, 0, 8]));
    }
    // The proxy may close before it has read all of it.
    let _ = stream.write_all(&flood).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    edge.ended("http2_error").await;
    assert_eq!(get(edge.address, "/", &[]).await.status, 200);
}

#[tokio::test]
async fn frames_that_break_the_rules_of_http2_end_the_connection() {
    let (origin, edge) = start().await;
    let rubbish = [
        // DATA for a stream that was never opened.
        frame(0, 0, 1, b"data"),
        // A head that no table can decode.
        frame(1, 0b101, 1, &[0xff; 8]),
        // A stream that depends on itself and has an even number.
        frame(1, 0b101, 2, &[0x82, 0x84, 0x86]),
        // A window that overflows.
        frame(8, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
    ];
    for (count, bytes) in rubbish.into_iter().enumerate() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = frame(4, 0, 0, &[]);
        raw(edge.address, &[&preface[..], &settings, &bytes].concat()).await;
        let series = "meridian_connection_ends_total{end=\"http2_error\"}";
        edge.counted(series, (count + 1) as f64).await;
    }
    assert!(origin.seen().is_empty());
}
