//! A running proxy takes a new configuration without a viewer noticing.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::mmdb::{MmdbWriter, Value};
use crate::support::authority::{Authority, file_of};
use crate::support::client::{connect_tls, get, request, send, whole};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};

const SUCCESSFUL: &str = "meridian_config_last_reload_successful";

/// A port that was free a moment ago.
fn free_address() -> SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn listener(address: SocketAddr) -> String {
    format!("[[listener]]\naddress = \"{address}\"\n[admin]\n")
}

#[tokio::test]
async fn an_edited_file_is_noticed_and_serves() {
    let (a, b) = (FakeOrigin::start("a").await, FakeOrigin::start("b").await);
    let edge = Edge::in_front_of(&[("a", &a.url())], "").await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
    edge.write(&Edge::text(&[("b", &b.url())], ""));
    let installed = "meridian_config_reloads_total{result=\"installed\"}";
    edge.counted(installed, 1.0).await;
    edge.resolved().await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_every_problem_is_told() {
    let origin = FakeOrigin::start("one").await;
    let good = Edge::text(&[("one", &origin.url())], "");
    let edge = Edge::start(&good).await;
    edge.resolved().await;
    let bad = good
        .replace("policy = \"failover\"", "policy = \"failovr\"")
        .replace("interval = \"1h\"\n", "interval = \"1 hour\"\n");
    edge.write(&bad);
    let reply = edge.admin("POST", "/api/v1/config:reload").await;
    assert_eq!(reply.status, 422, "{}", reply.text());
    let problems = reply.text();
    assert!(
        problems.contains("failovr") && problems.contains("1 hour"),
        "{problems}"
    );
    assert_eq!(edge.metric(SUCCESSFUL).await, 0.0);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "one");

    edge.write(&good);
    let reply = edge.admin("POST", "/api/v1/config:reload").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(edge.metric(SUCCESSFUL).await, 1.0);
    assert_eq!(get(edge.address, "/", &[]).await.text(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_no_request() {
    let origin = FakeOrigin::start("one").await;
    let text = |round: usize| {
        let route =
            format!("[[route]]\nname = \"r{round}\"\npath = \"/{round}/\"\nregions = [\"one\"]\n");
        Edge::text(&[("one", &origin.url())], &route)
    };
    let edge = Edge::start(&text(0)).await;
    edge.resolved().await;
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| tokio::spawn(hammer(edge.address, Arc::clone(&over), Arc::clone(&served))))
        .collect();
    for round in 1..=10 {
        let before = served.load(Ordering::Relaxed);
        edge.reload_with(&text(round)).await;
        while served.load(Ordering::Relaxed) < before + 20 {
            tokio::task::yield_now().await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

/// Asks over one kept connection, and panics at the first request that is not served.
async fn hammer(address: SocketAddr, over: Arc<AtomicBool>, served: Arc<AtomicUsize>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    while !over.load(Ordering::Relaxed) {
        sender.ready().await.unwrap();
        let response = sender
            .send_request(request("GET", "/", &[], ""))
            .await
            .unwrap();
        let reply = whole(response).await.unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
        served.fetch_add(1, Ordering::Relaxed);
    }
}

/// An origin that switches protocols and then sends back what it gets.
async fn echoing_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 4096];
                let count = stream.read(&mut bytes).await.unwrap();
                let answer: &[u8] = if bytes[..count].starts_with(b"GET /chat") {
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: websocket\r\n\r\n"
                } else {
                    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                };
                let _ = stream.write_all(answer).await;
                while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                    let _ = stream.write_all(&bytes[..count]).await;
                }
            });
        }
    });
    url
}

/// Opens a tunnel through the proxy.
async fn open_tunnel(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let handshake = b"GET /chat HTTP/1.1\r\nHost: test.example\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(handshake).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    stream
}

async fn echoes(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).await.unwrap();
    let mut echo = vec![0; text.len()];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(echo, text);
}

#[tokio::test]
async fn an_unrelated_change_leaves_tunnels_pools_health_and_latency_alone() {
    let (a, b) = (FakeOrigin::start("a").await, FakeOrigin::start("b").await);
    let chat = echoing_origin().await;
    let (a_url, b_url) = (a.url(), b.url());
    let regions = [
        ("a", a_url.as_str()),
        ("b", b_url.as_str()),
        ("chat", chat.as_str()),
    ];
    let route = "[[route]]\nname = \"chat\"\npath = \"/chat\"\nregions = [\"chat\"]\n";
    let edge = Edge::in_front_of(&regions, route).await;
    let mut tunnel = open_tunnel(edge.address).await;
    echoes(&mut tunnel, b"before").await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
    edge.counted(
        "meridian_probe_results_total{region=\"a\",result=\"passed\"}",
        1.0,
    )
    .await;
    edge.counted(
        "meridian_probe_results_total{region=\"b\",result=\"passed\"}",
        1.0,
    )
    .await;
    let believed = || {
        let live = edge.app.board().live();
        let regions = live.snapshot.regions.iter();
        regions
            .map(|region| format!("{:?}", region.endpoints))
            .collect::<Vec<_>>()
    };
    let (before, connections) = (believed(), a.connections());

    let more = format!("{route}[[route]]\nname = \"new\"\npath = \"/new\"\nregions = [\"b\"]\n");
    edge.reload_with(&Edge::text(&regions, &more)).await;
    assert_eq!(get(edge.address, "/new", &[]).await.text(), "b");
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
    echoes(&mut tunnel, b"after").await;
    assert_eq!(believed(), before);
    assert_eq!(a.connections(), connections);
}

#[tokio::test]
async fn listeners_come_and_go() {
    let origin = FakeOrigin::start("one").await;
    let text = Edge::text(&[("one", &origin.url())], "");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let extra = free_address();
    edge.reload_with(&text.replace("[admin]\n", &listener(extra)))
        .await;
    assert_eq!(get(extra, "/", &[]).await.text(), "one");

    let stream = TcpStream::connect(extra).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let kept = tokio::spawn(connection);
    let response = sender
        .send_request(request("GET", "/", &[], ""))
        .await
        .unwrap();
    assert_eq!(whole(response).await.unwrap().text(), "one");
    let (started, finish) = (
        Arc::new(tokio::sync::Notify::new()),
        Arc::new(AtomicBool::new(false)),
    );
    hold_answers(&origin, &started, &finish);
    sender.ready().await.unwrap();
    let answering = tokio::spawn(sender.send_request(request("GET", "/", &[], "")));
    started.notified().await;
    edge.reload_with(&text).await;
    // A closed port refuses; until every worker has closed it a connection may still get in.
    while TcpStream::connect(extra).await.is_ok() {
        tokio::task::yield_now().await;
    }
    finish.store(true, Ordering::Release);
    let response = answering.await.unwrap().unwrap();
    assert_eq!(whole(response).await.unwrap().text(), "held");
    kept.await.unwrap().unwrap();
    assert_eq!(get(edge.address, "/", &[]).await.text(), "held");
    // And it may come back.
    edge.reload_with(&text.replace("[admin]\n", &listener(extra)))
        .await;
    assert_eq!(get(extra, "/", &[]).await.text(), "held");
}

#[tokio::test]
async fn a_port_that_was_given_may_be_written_down() {
    let origin = FakeOrigin::start("one").await;
    let text = Edge::text(&[("one", &origin.url())], "");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let written = text.replacen("127.0.0.1:0", &edge.address.to_string(), 1);
    edge.reload_with(&written).await;
    assert_eq!(edge.app.addresses(), [edge.address]);
    for _ in 0..20 {
        assert_eq!(get(edge.address, "/", &[]).await.text(), "one");
    }
}

/// From now on the origin's answers end only once `finish` is set.
fn hold_answers(origin: &FakeOrigin, started: &Arc<tokio::sync::Notify>, finish: &Arc<AtomicBool>) {
    let (started, finish) = (Arc::clone(started), Arc::clone(finish));
    origin.behave(Behaviour::With(Arc::new(move |_| {
        started.notify_one();
        let finish = Arc::clone(&finish);
        let mut text = Some(hyper::body::Frame::data("held".into()));
        let body =
            http_body_util::StreamBody::new(Polled(move |cx: &mut std::task::Context<'_>| {
                if !finish.load(Ordering::Acquire) {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(text.take().map(Ok))
            }));
        http::Response::new(BodyExt::boxed(body))
    })));
}

/// A stream of what a function gives.
struct Polled<F>(F);

impl<T, F> futures_core::Stream for Polled<F>
where
    F: FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<T>> + Unpin,
{
    type Item = T;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<T>> {
        (self.0)(cx)
    }
}

#[tokio::test]
async fn a_certificate_replaced_on_disk_is_shown_to_new_viewers() {
    let authority = Authority::new();
    let files = authority.certificate("edge", &["test.example"]);
    let new = authority.certificate("new", &["test.example"]);
    let origin = FakeOrigin::start("one").await;
    let tls = format!(
        "tls = {{ cert = {:?}, key = {:?} }}\n[admin]\n",
        files.cert, files.key
    );
    let text = Edge::text(&[("one", &origin.url())], "").replace("[admin]\n", &tls);
    let edge = Edge::start(&text).await;
    let shown = || async {
        let viewer = authority.viewer().build();
        let stream = connect_tls(edge.address, viewer, b"").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_eq!(file_of(&authority, &shown().await), "edge");
    let shown_new = rustls::pki_types::pem::PemObject::from_pem_file(&new.cert);
    let shown_new: rustls::pki_types::CertificateDer<'_> = shown_new.unwrap();
    // The key first: in between the pair does not match, and the old one goes on.
    std::fs::rename(&new.key, &files.key).unwrap();
    std::fs::rename(&new.cert, &files.cert).unwrap();
    let installed = "meridian_config_reloads_total{result=\"installed\"}";
    edge.counted(installed, 1.0).await;
    assert_eq!(shown().await, shown_new);
}

/// A database that says 5.6.0.0/16 is in `country`.
fn database(country: &str) -> Vec<u8> {
    let mut database = MmdbWriter::new("GeoLite2-Country", 4);
    let code = Value::map(&[("iso_code", Value::text(country))]);
    let record = database.record(Value::map(&[("country", code)]));
    database.network("5.6.0.0/16", record);
    database.bytes()
}

#[tokio::test]
async fn a_database_replaced_on_disk_is_used_and_a_truncated_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("countries.mmdb");
    let replace = |bytes: &[u8]| {
        let new = folder.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, &path).unwrap();
    };
    replace(&database("NO"));
    let origin = FakeOrigin::start("one").await;
    let viewer = format!("[viewer]\ngeoip = {path:?}\n[admin]\n");
    let text = Edge::text(&[("one", &origin.url())], "").replace("[admin]\n", &viewer);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let country = || async {
        get(edge.address, "/", &[("x-forwarded-for", "5.6.7.8")]).await;
        let seen = origin.seen().pop().unwrap();
        seen.headers["x-viewer-country"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(country().await, "NO");

    replace(&database("FI"));
    let installed = "meridian_config_reloads_total{result=\"installed\"}";
    edge.counted(installed, 1.0).await;
    assert_eq!(country().await, "FI");

    let whole = database("SE");
    replace(&whole[..whole.len() / 2]);
    edge.counted("meridian_config_reloads_total{result=\"refused\"}", 1.0)
        .await;
    assert_eq!(country().await, "FI");
    let told = edge.admin("POST", "/api/v1/config:reload").await.text();
    assert!(told.contains("countries.mmdb"), "{told}");
}

#[tokio::test]
async fn trusted_peers_and_time_limits_hold_for_connections_to_come() {
    let origin = FakeOrigin::start("one").await;
    let text = Edge::text(&[("one", &origin.url())], "");
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    let country = || async {
        get(edge.address, "/", &[("cloudfront-viewer-country", "JP")]).await;
        let seen = origin.seen().pop().unwrap();
        seen.headers.get("x-viewer-country").cloned()
    };
    assert_eq!(country().await.unwrap(), "JP");
    let mut before = TcpStream::connect(edge.address).await.unwrap();
    edge.counted("meridian_connections_total", 2.0).await;

    let text = text.replace(
        "trusted_peers = [\"127.0.0.0/8\"]\n",
        "timeouts = { head = \"100ms\" }\n",
    );
    edge.reload_with(&text).await;
    // A worker follows a moment after the reload.
    while country().await.is_some_and(|country| country == "JP") {}
    let mut after = TcpStream::connect(edge.address).await.unwrap();
    assert_eq!(after.read(&mut [0]).await.unwrap(), 0);
    before
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(before.read(&mut [0]).await.unwrap(), 1);
}

/// A proxy in a process of its own.
struct Process {
    child: Child,
    viewers: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    fn start(file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_meridian"))
            .args(["run", "-c"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening at") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "it ended");
        }
        // What it says later is read, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let word = |before: &str| {
            let rest = line.split(before).nth(1).unwrap();
            let end = rest.find([' ', ';', '\n']).unwrap_or(rest.len());
            rest[..end].parse().unwrap()
        };
        Self {
            viewers: word("listening at "),
            admin: word("admin "),
            child,
        }
    }

    /// Open descriptors and threads.
    fn holds(&self) -> (usize, usize) {
        let count = |what: &str| {
            let folder = format!("/proc/{}/{what}", self.child.id());
            std::fs::read_dir(folder).unwrap().count()
        };
        (count("fd"), count("task"))
    }

    async fn reload(&self) {
        let request = http::Request::post("/api/v1/config:reload")
            .header("host", self.admin.to_string())
            .body(http_body_util::Full::default())
            .unwrap();
        let reply = send(self.admin, request).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("installed"), "{}", reply.text());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn reloads_leave_no_descriptors_or_threads_behind() {
    let authority = Authority::new();
    let files = authority.certificate("edge", &["test.example"]);
    let origin = FakeOrigin::start("one").await;
    let extra = free_address();
    let text = |round: usize| {
        let more = if round % 2 == 1 {
            format!(
                "tls = {{ cert = {:?}, key = {:?} }}\n",
                files.cert, files.key
            )
        } else {
            String::new()
        };
        let text = Edge::text(&[("one", &origin.url())], &format!("# {round}\n"));
        if more.is_empty() {
            text
        } else {
            text.replace(
                "[admin]\n",
                &listener(extra).replace("[admin]", &format!("{more}[admin]")),
            )
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("meridian.toml");
    std::fs::write(&file, text(0)).unwrap();
    let process = Process::start(&file);
    // The first round opens what stays open: the watcher, threads that may block.
    let mut after_first = None;
    for round in 1..=11 {
        for half in [2 * round - 1, 2 * round] {
            let new = folder.path().join("new");
            std::fs::write(&new, text(half)).unwrap();
            std::fs::rename(new, &file).unwrap();
            process.reload().await;
            assert_eq!(get(process.viewers, "/", &[]).await.text(), "one");
        }
        after_first.get_or_insert_with(|| process.holds());
    }
    let ((descriptors, threads), after) = (after_first.unwrap(), process.holds());
    assert!(
        after.0 <= descriptors + 4,
        "{descriptors} descriptors, then {}",
        after.0
    );
    assert!(
        after.1 <= threads + 4,
        "{threads} threads, then {}",
        after.1
    );
}
