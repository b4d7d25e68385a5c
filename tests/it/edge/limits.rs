//! Viewers that are too many, too slow, or silent.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{get, raw};
use crate::support::edge::Edge;
use crate::support::metrics::{page, value};
use crate::support::origin::{Behaviour, FakeOrigin};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";

/// A proxy whose listener has these time limits.
async fn with_timeouts(origin: &FakeOrigin, timeouts: &str) -> Edge {
    let line = format!("[[listener]]\ntimeouts = {{ {timeouts} }}\n");
    let text = Edge::text(&[("one", &origin.url())], "").replace("[[listener]]\n", &line);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    edge
}

/// Reads one answer that has the body `one`.
async fn read_answer(stream: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\none") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..count]);
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once_and_counted() {
    let origin = FakeOrigin::start("one").await;
    let text = Edge::text(&[("one", &origin.url())], "")
        .replace("[admin]", "[limits]\nconnections_per_worker = 2\n[admin]");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        read_answer(&mut stream).await;
        kept.push(stream);
    }
    let mut third = TcpStream::connect(edge.address).await.unwrap();
    assert!(matches!(third.read(&mut [0]).await, Ok(0) | Err(_)));
    edge.counted(
        "meridian_requests_shed_total{reason=\"connection_limit\"}",
        1.0,
    )
    .await;
    kept.pop();
    edge.ended("finished").await;
    while edge.app.active_connections() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(edge.address, "/", &[]).await.status, 200);
}

#[tokio::test]
async fn a_head_that_does_not_end_ends_the_connection() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_timeouts(&origin, "head = \"200ms\"").await;
    assert_eq!(raw(edge.address, b"").await, "");
    let part = b"GET / HTTP/1.1\r\nHost: test.example\r\nx-slow: ";
    assert_eq!(raw(edge.address, part).await, "");
    // The second head of a connection has no more time than the first.
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    read_answer(&mut stream).await;
    stream.write_all(part).await.unwrap();
    assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    edge.counted("meridian_connection_ends_total{end=\"head_timeout\"}", 3.0)
        .await;
}

#[tokio::test]
async fn a_connection_between_requests_is_closed_after_its_idle_time() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_timeouts(&origin, "idle = \"200ms\"").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    read_answer(&mut stream).await;
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    edge.ended("idle").await;
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_http2_connection() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_timeouts(&origin, "idle = \"200ms\"").await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driving = tokio::spawn(connection);
    let request = Request::get("http://test.example/").body(()).unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    let mut count = 0;
    while pings.ping(h2::Ping::opaque()).await.is_ok() {
        count += 1;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(count > 2, "{count} pings");
    let _ = driving.await;
    edge.ended("idle").await;
}

/// An answer far larger than all buffers on its way.
fn large() -> Behaviour {
    Behaviour::Answer(
        StatusCode::OK,
        Vec::new(),
        Bytes::from(vec![b'x'; 64 << 20]),
    )
}

#[tokio::test]
async fn a_viewer_that_stops_reading_is_cut_off() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(large());
    let edge = with_timeouts(&origin, "body_progress = \"300ms\"").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    edge.ended("write_stalled").await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64 << 20, "the viewer got all of it");
}

#[tokio::test]
async fn an_http2_stream_that_its_viewer_stops_reading_is_reset_and_no_other() {
    let origin = FakeOrigin::start("one").await;
    origin.behave(large());
    let edge = with_timeouts(&origin, "body_progress = \"300ms\"").await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, connection) = h2::client::Builder::new()
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = || Request::get("http://test.example/").body(()).unwrap();
    let (response, _) = sender.send_request(request(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    // Bytes are taken, but room for more is never made.
    let error = loop {
        match body.data().await.expect("the viewer got all of it") {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
    origin.behave(Behaviour::Name);
    let (response, _) = sender.send_request(request(), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn a_viewer_that_reads_slowly_but_steadily_gets_all_of_it() {
    let origin = FakeOrigin::start("one").await;
    let body = Bytes::from(vec![b'x'; 3 << 20]);
    origin.behave(Behaviour::Answer(StatusCode::OK, Vec::new(), body));
    let edge = with_timeouts(&origin, "body_progress = \"300ms\"").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(edge.address).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: test.example\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let (mut total, mut buffer) = (0, vec![0; 128 << 10]);
    loop {
        match stream.read(&mut buffer).await.unwrap() {
            0 => break,
            count => total += count,
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(total > 3 << 20, "{total} bytes");
}

#[tokio::test]
async fn an_upload_that_stands_still_is_answered_with_408() {
    let origin = FakeOrigin::start("one").await;
    let edge = with_timeouts(&origin, "body_progress = \"300ms\"").await;
    for begun in [
        "Content-Length: 10\r\n\r\n",
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhalf",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: test.example\r\n{begun}");
        let answer = raw(edge.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{begun:?}: {answer}");
        assert!(answer.contains("http_request_error"), "{answer}");
    }
    assert!(origin.seen().is_empty());
}

#[tokio::test]
async fn a_fault_in_serving_one_viewer_costs_no_other() {
    use meridian::edge::conn::{Accepted, ConnectionContext, serve};
    use meridian::edge::connection_registry::Connections;
    use meridian::edge::counters::EdgeCounters;
    use meridian::edge::shutdown::ShutdownSignal;
    use meridian::edge::watched_stream::Active;
    use meridian::proxy::peer::Peer;
    use meridian::telemetry::metrics::MetricsRegistry;
    use std::rc::Rc;

    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let listener = Arc::clone(&edge.app.board().live().resources.listeners[0]);
    let registry = MetricsRegistry::default();
    let counters = Arc::new(EdgeCounters::new(&registry));
    let context = Rc::new(ConnectionContext {
        handler: |_: &Peer, request: Request<hyper::body::Incoming>| async move {
            assert!(request.uri().path() != "/fault", "a fault");
            Response::new(Full::<Bytes>::from("fine"))
        },
        counters: Arc::clone(&counters),
        connections: Rc::new(Connections::default()),
    });
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (_guard, shutdown) = ShutdownSignal::new();
    let accepting = tokio::task::LocalSet::new();
    accepting.spawn_local(async move {
        loop {
            let (stream, tcp) = socket.accept().await.unwrap();
            let accepted = Accepted {
                stream,
                tcp,
                active: Active::new(Arc::clone(&context.counters)),
                shutdown: shutdown.clone(),
                listener: Arc::clone(&listener),
            };
            tokio::task::spawn_local(serve(Rc::clone(&context), accepted));
        }
    });
    let asking = async {
        let fault = b"GET /fault HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(raw(address, fault).await, "");
        assert_eq!(get(address, "/", &[]).await.text(), "fine");
    };
    accepting.run_until(asking).await;
    assert_eq!(value(&page(&registry), "meridian_panics_total"), Some(1.0));
}
