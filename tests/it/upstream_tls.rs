//! Origins behind TLS and behind names: verified, resumed, and followed wherever they move.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::ServerConfig;

use crate::support::authority::{Authority, serve, tls};
use crate::support::client::{get, request, send};
use crate::support::dns::{DnsServer, Say};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

const LOOPBACK: &str = "127.0.0.1:0";

/// What an origin with a certificate for `names` serves with.
fn certified(authority: &Authority, names: &[&str], alpn: &[&str]) -> Arc<ServerConfig> {
    let files = authority.certificate("origin", names);
    let mut config = Arc::unwrap_or_clone(serve(&tls(&[files])));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

async fn origin(name: &str, config: Arc<ServerConfig>) -> FakeOrigin {
    FakeOrigin::start_with(name, false, Some(config), LOOPBACK.parse().unwrap()).await
}

fn ca(authority: &Authority) -> PathBuf {
    authority.file("ca.pem", authority.issuer.pem())
}

/// A configuration whose region `name` has these lines more.
fn with_lines(text: &str, name: &str, lines: &str) -> String {
    text.replace(
        &format!("[region.{name}]\n"),
        &format!("[region.{name}]\n{lines}\n"),
    )
}

async fn start(text: &str) -> Edge {
    let edge = Edge::start(text).await;
    edge.resolved().await;
    edge
}

/// The view of one endpoint's last probe, once there is one.
async fn probed(edge: &Edge, region: &str) -> serde_json::Value {
    loop {
        let text = edge.admin("GET", "/api/v1/probes").await.text();
        let view: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut probes = view.as_array().expect("a list of probes").iter();
        if let Some(probe) =
            probes.find(|probe| probe["region"] == region && !probe["result"].is_null())
        {
            return probe.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_origin_is_verified_against_the_regions_authority() {
    let authority = Authority::new();
    let config = certified(&authority, &["127.0.0.1"], &["http/1.1"]);
    let one = origin("one", config).await;
    let text = Edge::text(&[("one", &one.url())], "");
    let text = with_lines(
        &text,
        "one",
        &format!("tls = {{ ca = {:?} }}", ca(&authority)),
    );
    let edge = start(&text).await;
    let reply = get(edge.address, "/", &[]).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
    let probe = probed(&edge, "one").await;
    assert_eq!(probe["result"], "passed", "{probe}");
    assert!(probe["tls_seconds"].as_f64().unwrap() > 0.0, "{probe}");
}

#[tokio::test]
async fn an_origin_that_cannot_be_verified_gets_nothing_and_the_next_region_serves() {
    let (authority, other) = (Authority::new(), Authority::new());
    let cases = [
        ("another authority", certified(&other, &["127.0.0.1"], &[])),
        (
            "another name",
            certified(&authority, &["other.example"], &[]),
        ),
        ("expired", authority.expired(&["127.0.0.1"])),
    ];
    for (case, config) in cases {
        let (bad, good) = (origin("bad", config).await, FakeOrigin::start("good").await);
        let text = Edge::text(&[("bad", &bad.url()), ("good", &good.url())], "");
        let text = with_lines(
            &text,
            "bad",
            &format!("tls = {{ ca = {:?} }}", ca(&authority)),
        );
        let edge = start(&text).await;
        let probe = probed(&edge, "bad").await;
        assert_eq!(probe["result"], "tls", "{case}: {probe}");
        for method in ["GET", "POST"] {
            let reply = send(edge.address, request(method, "/", &[], "body"))
                .await
                .unwrap();
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, "good"),
                "{case}"
            );
        }
        assert!(bad.seen().is_empty(), "{case}");
        let page = edge.admin("GET", "/metrics").await.text();
        assert!(page.contains("tls_failed"), "{page}");
    }
}

#[tokio::test]
async fn the_name_an_origin_is_asked_by_can_be_set() {
    let authority = Authority::new();
    let one = origin("one", certified(&authority, &["api.internal"], &[])).await;
    let text = Edge::text(&[("one", &one.url())], "");
    let lines = format!(
        "tls = {{ ca = {:?}, server_name = \"api.internal\" }}",
        ca(&authority)
    );
    let edge = start(&with_lines(&text, "one", &lines)).await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "one");
    // Who it is asked by in TLS says nothing of whom the request is for.
    assert_eq!(one.seen()[0].headers["host"], "test.example");
}

#[tokio::test]
async fn an_origin_that_offers_http2_is_spoken_to_in_it() {
    let authority = Authority::new();
    let config = certified(&authority, &["127.0.0.1"], &["h2"]);
    let one = FakeOrigin::start_with("one", true, Some(config), LOOPBACK.parse().unwrap()).await;
    let text = Edge::text(&[("one", &one.url())], "");
    let lines = format!("http = \"auto\"\ntls = {{ ca = {:?} }}", ca(&authority));
    let edge = start(&with_lines(&text, "one", &lines)).await;
    for _ in 0..5 {
        assert_eq!(get(edge.address, "/", &[]).await.text(), "one");
    }
    assert_eq!(one.seen()[0].authority.as_deref(), Some("test.example"));
    // One for requests and one for probes.
    assert!(one.connections() <= 2, "{} connections", one.connections());
}

/// Counts sessions that are taken up again.
#[derive(Debug)]
struct Tickets {
    inner: Arc<dyn rustls::server::ProducesTickets>,
    resumed: Arc<AtomicUsize>,
}

impl rustls::server::ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let plain = self.inner.decrypt(cipher);
        if plain.is_some() {
            self.resumed.fetch_add(1, Ordering::Relaxed);
        }
        plain
    }
}

#[tokio::test]
async fn sessions_with_an_origin_are_resumed() {
    let authority = Authority::new();
    let mut config = Arc::unwrap_or_clone(certified(&authority, &["127.0.0.1"], &[]));
    let resumed = Arc::new(AtomicUsize::new(0));
    config.ticketer = Arc::new(Tickets {
        inner: rustls::crypto::aws_lc_rs::Ticketer::new().unwrap(),
        resumed: Arc::clone(&resumed),
    });
    let one = origin("one", Arc::new(config)).await;
    let text = Edge::text(&[("one", &one.url())], "");
    let text = with_lines(
        &text,
        "one",
        &format!("tls = {{ ca = {:?} }}", ca(&authority)),
    );
    let edge = start(&text).await;
    for _ in 0..5 {
        assert_eq!(get(edge.address, "/", &[]).await.text(), "one");
        one.close_connections();
    }
    assert!(one.connections() > 3, "{} connections", one.connections());
    assert!(resumed.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_whose_addresses_change_under_load_loses_no_request() {
    // Loopback is a whole network: three origins at one port.
    let first = FakeOrigin::start("one").await;
    let port = first.address.port();
    let mut origins = vec![first];
    for last in [2, 3] {
        let address = (Ipv4Addr::new(127, 0, 0, last), port).into();
        origins.push(FakeOrigin::start_with("one", false, None, address).await);
    }
    let dns = DnsServer::start(Say::Addresses(vec![Ipv4Addr::LOCALHOST], 0)).await;
    let url = format!("http://origin.example:{port}");
    let text = Edge::text(&[("one", &url)], "").replace(
        "[admin]\n",
        &format!(
            "[dns]\nservers = [\"{}\"]\nmin_ttl = \"100ms\"\nmax_ttl = \"100ms\"\n[admin]\n",
            dns.address
        ),
    );
    let edge = start(&text).await;
    let (over, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (over, served, address) = (Arc::clone(&over), Arc::clone(&served), edge.address);
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let reply = get(address, "/", &[]).await;
                    assert_eq!((reply.status, reply.text().as_str()), (200, "one"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..9_u8 {
        let now = usize::from(round % 3);
        let before = origins[now].seen().len();
        dns.say(Say::Addresses(
            vec![Ipv4Addr::new(127, 0, 0, round % 3 + 1)],
            0,
        ));
        origins[now].saw(before + 20).await;
        // Nothing at all, and rubbish, change nothing.
        if round == 4 {
            for say in [Say::Empty, Say::NxDomain, Say::ServFail] {
                dns.say(say);
                let before = served.load(Ordering::Relaxed);
                while served.load(Ordering::Relaxed) < before + 20 {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}
