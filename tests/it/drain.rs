//! A proxy that is told to stop loses no request.

use std::time::Duration;

use http::Request;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use meridian::app::DrainReport;
use meridian_core::config::DrainConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::client::{get, request, whole};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};

/// Tells a proxy to stop; it keeps on accepting for `delay`.
struct Stopping {
    report: JoinHandle<DrainReport>,
    hurry: oneshot::Sender<()>,
}

fn stop(edge: Edge, delay: Duration) -> Stopping {
    let (hurry, hurried) = oneshot::channel();
    let timeout = Duration::from_secs(30);
    let report = tokio::spawn(async move {
        let Edge { app, .. } = edge;
        let hurried = async {
            if hurried.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        app.drain(DrainConfig { delay, timeout }, hurried).await
    });
    Stopping { report, hurry }
}

/// An origin that begins its answer and ends it when told.
struct HeldOrigin {
    url: String,
    release: tokio::sync::watch::Sender<bool>,
    asked: tokio::sync::watch::Receiver<usize>,
}

impl HeldOrigin {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (release, held) = tokio::sync::watch::channel(false);
        let (asking, asked) = tokio::sync::watch::channel(0);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut held, asking) = (held.clone(), asking.clone());
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let count = stream.read(&mut head).await.unwrap_or_default();
                    let begin =
                        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nhalf";
                    let _ = stream.write_all(begin).await;
                    if !head[..count].starts_with(b"GET /health") {
                        asking.send_modify(|count| *count += 1);
                        let _ = held.wait_for(|released| *released).await;
                    }
                    let _ = stream.write_all(b"half").await;
                });
            }
        });
        Self {
            url,
            release,
            asked,
        }
    }

    async fn was_asked(&mut self, times: usize) {
        self.asked.wait_for(|count| *count >= times).await.unwrap();
    }
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn it_says_at_once_that_it_is_not_ready_and_goes_on_accepting() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    assert_eq!(edge.admin("GET", "/readyz").await.status, 200);
    let (viewers, admin) = (edge.address, edge.app.admin_address().unwrap());
    let stopping = stop(edge, LONG);
    let ready = || async {
        let request = Request::get("/readyz").header("host", admin.to_string());
        let request = request.body(Full::default()).unwrap();
        crate::support::client::send(admin, request).await.unwrap()
    };
    // The task that drains begins to run once this one waits.
    while ready().await.status != 503 {}
    assert_eq!(get(viewers, "/", &[]).await.status, 200);
    let reply = get(viewers, "/", &[]).await;
    assert_eq!(
        reply.field("connection"),
        "",
        "viewers are not sent away yet"
    );
    stopping.hurry.send(()).unwrap();
    let report = stopping.report.await.unwrap();
    assert!(report.took < LONG);
    assert!(TcpStream::connect(viewers).await.is_err());
}

#[tokio::test]
async fn requests_under_way_end_whole_and_are_their_connections_last() {
    let mut origin = HeldOrigin::start().await;
    let edge = Edge::in_front_of(&[("one", &origin.url)], "").await;
    let viewers = edge.address;

    let mut http1 = TcpStream::connect(viewers).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
    http1.write_all(head).await.unwrap();
    let stream = TcpStream::connect(viewers).await.unwrap();
    let (mut http2, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("http://test.example/").body(()).unwrap();
    let (response, _) = http2.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    origin.was_asked(2).await;

    let stopping = stop(edge, Duration::ZERO);
    // The HTTP/2 viewer is told that its streams are the last, and the listener is closed.
    loop {
        match http2.ready().await {
            Ok(again) => http2 = again,
            Err(error) => break assert!(error.is_go_away(), "{error}"),
        }
        tokio::task::yield_now().await;
    }
    while TcpStream::connect(viewers).await.is_ok() {
        tokio::task::yield_now().await;
    }
    origin.release.send_replace(true);
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        whole.extend_from_slice(&data.unwrap());
    }
    assert_eq!(whole, b"halfhalf");
    drop(body);
    connection.await.unwrap().unwrap();
    let mut answer = String::new();
    http1.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("halfhalf"), "{answer}");
    let report = stopping.report.await.unwrap();
    assert_eq!((report.connections, report.cut), (2, 0));
    assert!(
        report.to_string().starts_with("drained 2 connections"),
        "{report}"
    );
}

#[tokio::test]
async fn a_request_on_a_kept_connection_is_answered_with_close() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let viewers = edge.address;
    // Accepted, but silent so far: its first request may be on the way.
    let mut silent = TcpStream::connect(viewers).await.unwrap();
    while edge.app.active_connections() == 0 {
        tokio::task::yield_now().await;
    }
    let stopping = stop(edge, Duration::ZERO);
    while TcpStream::connect(viewers).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let head = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
    silent.write_all(head).await.unwrap();
    let mut answer = String::new();
    silent.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(stopping.report.await.unwrap().cut, 0);
}

#[tokio::test]
async fn connections_that_wait_in_the_queue_of_a_closing_socket_are_served() {
    let origin = FakeOrigin::start("one").await;
    for _ in 0..5 {
        let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
        let viewers = edge.address;
        let streams: Vec<_> = (0..50)
            .map(|_| {
                let mut stream = std::net::TcpStream::connect(viewers).unwrap();
                let head = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
                std::io::Write::write_all(&mut stream, head).unwrap();
                stream
            })
            .collect();
        let stopping = stop(edge, Duration::ZERO);
        for stream in streams {
            stream.set_nonblocking(true).unwrap();
            let mut stream = TcpStream::from_std(stream).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        }
        assert_eq!(stopping.report.await.unwrap().cut, 0);
    }
}

#[tokio::test]
async fn whoever_is_in_a_hurry_cuts_what_is_left() {
    let mut origin = HeldOrigin::start().await;
    let edge = Edge::in_front_of(&[("one", &origin.url)], "").await;
    let mut stream = TcpStream::connect(edge.address).await.unwrap();
    let head = b"GET / HTTP/1.1\r\nHost: test.example\r\n\r\n";
    stream.write_all(head).await.unwrap();
    origin.was_asked(1).await;
    let stopping = stop(edge, LONG);
    stopping.hurry.send(()).unwrap();
    let report = stopping.report.await.unwrap();
    assert_eq!((report.connections, report.cut), (1, 1));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"halfhalf"));
}

#[tokio::test]
async fn idle_connections_do_not_hold_it_up() {
    let origin = FakeOrigin::start("one").await;
    let edge = Edge::in_front_of(&[("one", &origin.url())], "").await;
    let stream = TcpStream::connect(edge.address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let response = sender
        .send_request(request("GET", "/", &[], ""))
        .await
        .unwrap();
    assert_eq!(whole(response).await.unwrap().status, 200);
    let _silent = TcpStream::connect(edge.address).await.unwrap();
    while edge.app.active_connections() < 2 {
        tokio::task::yield_now().await;
    }
    let stopping = stop(edge, Duration::ZERO);
    let report = stopping.report.await.unwrap();
    assert_eq!((report.connections, report.cut), (2, 0));
    assert!(report.took < Duration::from_secs(5), "{:?}", report.took);
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_last_requests_are_in_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let origin = FakeOrigin::start("one").await;
    origin.behave(Behaviour::Name);
    let text = Edge::text(&[("one", &origin.url())], "").replace(
        "[access_log]\nenabled = false\n",
        &format!("[access_log]\npath = {log:?}\n"),
    );
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    for number in 0..20 {
        assert_eq!(
            get(edge.address, &format!("/{number}"), &[]).await.status,
            200
        );
    }
    stop(edge, Duration::ZERO).report.await.unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.lines().count(), 20, "{log}");
    assert!(log.lines().last().unwrap().contains("/19"), "{log}");
}
