//! Names become addresses, and stay addresses whatever the name server says next.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meridian::telemetry::metrics::MetricsRegistry;
use meridian::upstream::dns::{DnsResult, ResolverInput, resolve};
use meridian_core::apply::Event;
use meridian_core::config::DnsConfig;
use meridian_core::model::id::RegionId;
use meridian_core::table::RoutingTable;
use meridian_core::table::origin::{OriginHost, ProbeSpec};
use tokio::sync::{mpsc, watch};

use crate::support::dns::{DnsServer, Say};
use crate::support::metrics::{page, value};
use crate::support::resources::until;
use crate::support::tables::{region, table};

const NAME: &str = "api.origin.example";

fn named(name: &str) -> Arc<RoutingTable> {
    let host = OriginHost::Name(name.into());
    table(vec![region("eu", host, 8443, ProbeSpec::default())])
}

/// A resolver under test, and what it tells.
struct Bench {
    registry: MetricsRegistry,
    /// How many questions the server got.
    asked: watch::Receiver<u64>,
    told: mpsc::UnboundedReceiver<Event>,
    names: Arc<Mutex<ResolverInput>>,
    revisions: watch::Sender<u64>,
}

impl Bench {
    /// Asks `server` anew every 10 ms.
    fn start(table: Arc<RoutingTable>, server: &DnsServer) -> Self {
        let dns = DnsConfig {
            servers: vec![server.address],
            min_ttl: Duration::from_millis(10),
            max_ttl: Duration::from_millis(10),
            ..DnsConfig::default()
        };
        let names = ResolverInput {
            generation: 1,
            table,
            dns,
            known: Default::default(),
        };
        Self::following(names, server)
    }

    fn following(names: ResolverInput, server: &DnsServer) -> Self {
        let names = Arc::new(Mutex::new(names));
        let (revisions, seen) = watch::channel(1);
        let (tell, told) = mpsc::unbounded_channel();
        let current = Arc::clone(&names);
        let registry = MetricsRegistry::default();
        resolve(
            seen,
            move || current.lock().unwrap().clone(),
            move |event| tell.send(event).is_ok(),
            &registry,
        );
        Self {
            registry,
            asked: server.asked.clone(),
            told,
            names,
            revisions,
        }
    }

    async fn next(&mut self) -> (u64, Vec<SocketAddr>) {
        let event = tokio::time::timeout(Duration::from_secs(10), self.told.recv());
        match event.await.unwrap().unwrap() {
            Event::Resolved {
                generation,
                addresses,
                ..
            } => (generation, addresses),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until one more question ended so: the next one shows that it is counted.
    async fn until_answered(&mut self, result: DnsResult) {
        let label = result.label();
        let series = format!("meridian_dns_answers_total{{result=\"{label}\"}}");
        let count = || value(&page(&self.registry), &series);
        let before = count();
        until(&mut self.asked, || count() > before).await;
    }
}

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn dialled(last: u8) -> SocketAddr {
    SocketAddr::from((at(last), 8443))
}

#[tokio::test]
async fn all_addresses_of_a_name_are_told_in_order_with_the_port() {
    let server = DnsServer::start(Say::Addresses(vec![at(2), at(1)], 30)).await;
    let mut bench = Bench::start(named(NAME), &server);
    assert_eq!(bench.next().await, (1, vec![dialled(1), dialled(2)]));
    server.say(Say::Addresses(vec![at(3)], 30));
    while bench.next().await.1 != [dialled(3)] {}
}

#[tokio::test]
async fn empty_answers_and_errors_keep_the_last_good_answer() {
    let server = DnsServer::start(Say::Addresses(vec![at(1)], 30)).await;
    let mut bench = Bench::start(named(NAME), &server);
    bench.next().await;
    for (say, result) in [
        (Say::Empty, DnsResult::Empty),
        (Say::NxDomain, DnsResult::NxDomain),
        (Say::ServFail, DnsResult::ServFail),
    ] {
        server.say(say);
        bench.until_answered(result).await;
    }
    while let Ok(event) = bench.told.try_recv() {
        assert!(matches!(&event, Event::Resolved { addresses, .. } if *addresses == [dialled(1)]));
    }
    server.say(Say::Addresses(vec![at(9)], 30));
    assert_eq!(bench.next().await.1, [dialled(9)]);
}

#[tokio::test]
async fn what_was_known_before_a_restart_is_the_last_good_answer() {
    let server = DnsServer::start(Say::ServFail).await;
    let names = ResolverInput {
        generation: 1,
        table: named(NAME),
        dns: DnsConfig {
            servers: vec![server.address],
            min_ttl: Duration::from_millis(10),
            ..DnsConfig::default()
        },
        known: [((RegionId(0), 0), vec![at(1).into()])].into(),
    };
    let mut bench = Bench::following(names, &server);
    assert_eq!(bench.next().await, (1, vec![dialled(1)]));
    bench.until_answered(DnsResult::ServFail).await;
    server.say(Say::Addresses(vec![at(2)], 30));
    while bench.next().await.1 != [dialled(2)] {}
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_is_asked_again() {
    let server = DnsServer::start(Say::Silence).await;
    let mut bench = Bench::start(named(NAME), &server);
    bench.until_answered(DnsResult::Timeout).await;
    server.say(Say::Addresses(vec![at(1)], 30));
    assert_eq!(bench.next().await.1, [dialled(1)]);
}

#[tokio::test]
async fn an_origin_that_does_not_resolve_at_start_is_told_once_it_does() {
    let server = DnsServer::start(Say::NxDomain).await;
    let mut bench = Bench::start(named(NAME), &server);
    bench.until_answered(DnsResult::NxDomain).await;
    assert!(bench.told.try_recv().is_err());
    server.say(Say::Addresses(vec![at(1)], 30));
    assert_eq!(bench.next().await.1, [dialled(1)]);
}

#[tokio::test]
async fn an_answer_older_than_it_may_be_kept_is_an_error_in_the_log() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Arc::new(log.reopen().unwrap()));
    let _logs = tracing::subscriber::set_default(subscriber.finish());
    let server = DnsServer::start(Say::Addresses(vec![at(1)], 30)).await;
    let dns = DnsConfig {
        servers: vec![server.address],
        min_ttl: Duration::from_millis(10),
        max_ttl: Duration::from_millis(10),
        keep_last_good: Duration::from_millis(30),
    };
    let names = ResolverInput {
        generation: 1,
        table: named(NAME),
        dns,
        known: Default::default(),
    };
    let mut bench = Bench::following(names, &server);
    bench.next().await;
    server.say(Say::Empty);
    let expired = "ERROR meridian::upstream::dns: origin has not resolved for longer than";
    let is_told = || {
        std::fs::read_to_string(log.path())
            .unwrap()
            .contains(expired)
    };
    until(&mut bench.asked, is_told).await;
}

#[tokio::test]
async fn a_written_address_and_a_name_of_the_hosts_file_need_no_server() {
    let server = DnsServer::start(Say::ServFail).await;
    let host = OriginHost::Address(at(7).into());
    let table_of_address = table(vec![region("eu", host, 8443, ProbeSpec::default())]);
    let mut bench = Bench::start(table_of_address, &server);
    assert_eq!(bench.next().await, (1, vec![dialled(7)]));
    assert_eq!(*server.asked.borrow(), 0);

    let mut bench = Bench::start(named("localhost"), &server);
    let (_, addresses) = bench.next().await;
    assert!(addresses.contains(&SocketAddr::from(([127, 0, 0, 1], 8443))));
}

#[tokio::test]
async fn a_reload_hands_the_known_addresses_to_the_new_table_at_once() {
    let server = DnsServer::start(Say::Addresses(vec![at(1)], 30)).await;
    let mut bench = Bench::start(named(NAME), &server);
    bench.next().await;
    server.say(Say::NxDomain);
    bench.until_answered(DnsResult::NxDomain).await;
    bench.names.lock().unwrap().generation = 2;
    bench.revisions.send(2).unwrap();
    while bench.next().await != (2, vec![dialled(1)]) {}
}
