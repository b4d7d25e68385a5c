//! Names to addresses, continuously: one task per origin that is written as a name.
//!
//! An answer that is empty, an error or missing never takes an origin away: the last good one is
//! kept and asked for again. hickory's own cache is off, the schedule here is the only one.

mod answer;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use metrics::Counter;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::clock::Clock;
use crate::telemetry::metrics::{MetricsRegistry, families};
use crate::upstream::dns::answer::{DnsAnswer, ask};
use meridian_core::apply::Event;
use meridian_core::config::DnsConfig;
use meridian_core::model::id::RegionId;
use meridian_core::table::RoutingTable;
use meridian_core::table::origin::OriginHost;

pub use crate::upstream::dns::answer::{ADDRESS_LIMIT, DnsResult};

/// One query to one server; with two attempts a dead server costs four seconds, and the last good
/// answer serves meanwhile.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
const QUERY_ATTEMPTS: usize = 2;

/// The time between tries where the board's queue was full.
const QUEUE_FULL: Duration = Duration::from_millis(200);

/// The names to resolve, for one generation of the table.
#[derive(Clone, Debug)]
pub struct ResolverInput {
    /// The table's generation, which every [`Event::Resolved`] carries.
    pub generation: u64,
    /// The regions and their origins.
    pub table: Arc<RoutingTable>,
    /// How to resolve.
    pub dns: DnsConfig,
    /// Addresses that are in use already, by region and origin of the table: the last good answer
    /// for names that this process never asked for, from before a restart.
    pub known: BTreeMap<(RegionId, u16), Vec<IpAddr>>,
}

/// What is known of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverStatus {
    /// The region's name.
    pub region: Arc<str>,
    /// The name that is asked for.
    pub name: Arc<str>,
    /// The addresses of the last good answer; empty before the first.
    pub addresses: Vec<IpAddr>,
    /// When that answer came, on the wall's clock.
    pub answered: Option<SystemTime>,
    /// How long it is kept before it is asked for again.
    pub ttl: Option<Duration>,
    /// How the last question ended.
    pub last: Option<DnsResult>,
    /// What went wrong, for people; `None` when the last question was answered well.
    pub error: Option<String>,
    /// Whether the last good answer is older than it should be kept.
    pub expired: bool,
    /// Addresses of the last good answer beyond [`ADDRESS_LIMIT`], which are not used.
    pub beyond_limit: usize,
}

/// A handle to the resolver's tasks; cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    registry: Arc<NameRegistry>,
    changes: watch::Receiver<u64>,
}

impl Resolver {
    /// Starts resolving on the current tokio runtime.
    ///
    /// `names` is read now and whenever `revisions` changes; the tasks end when its sender is
    /// gone. Every good answer goes to `tell` as [`Event::Resolved`], an address that is written
    /// in the table once per generation; `tell` says whether there was room.
    pub fn start(
        revisions: watch::Receiver<u64>,
        names: impl Fn() -> ResolverInput + Send + Sync + 'static,
        tell: impl Fn(Event) -> bool + Send + Sync + 'static,
        clock: Clock,
        registry: &MetricsRegistry,
    ) -> Self {
        let (changed, changes) = watch::channel(0);
        let registry = Arc::new(NameRegistry {
            entries: Mutex::default(),
            answers: DnsResult::ALL
                .map(|result| registry.counter(&families::DNS_ANSWERS, &[result.label()])),
            over_limit: registry.counter(&families::DNS_ANSWERS_OVER_LIMIT, &[]),
            changed,
        });
        let supervisor = ResolverSupervisor {
            registry: Arc::clone(&registry),
            tell: Arc::new(tell),
            clock,
        };
        tokio::spawn(supervisor.run(revisions, names));
        Self { registry, changes }
    }

    /// What is known of every name, in order of regions and origins.
    #[must_use]
    pub fn statuses(&self) -> Vec<ResolverStatus> {
        let entries = self.registry.lock();
        entries.values().map(|entry| entry.status.clone()).collect()
    }

    /// Wakes whenever a question ended or the list of names changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// A name of the table: the region's name, which of its origins, and what it is called. Survives
/// a reload as long as nothing of it changes.
type NameKey = (Arc<str>, u16, Arc<str>);

/// What the tasks and their readers share: one entry per name.
#[derive(Debug)]
struct NameRegistry {
    entries: Mutex<BTreeMap<NameKey, NameEntry>>,
    answers: [Counter; DnsResult::ALL.len()],
    over_limit: Counter,
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct NameEntry {
    status: ResolverStatus,
    /// When the last good answer came, on the monotonic clock.
    answered: Option<Instant>,
    /// When to ask next.
    due: Instant,
}

impl NameRegistry {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NameKey, NameEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the entries of `keys`, drops the others and adds the missing ones with what is known.
    fn follow(&self, keys: Vec<(NameKey, Vec<IpAddr>)>) {
        let mut entries = self.lock();
        entries.retain(|key, _| keys.iter().any(|(wanted, _)| wanted == key));
        for (key, known) in keys {
            let entry = NameEntry::open(&key, known);
            entries.entry(key).or_insert(entry);
        }
        drop(entries);
        self.touch();
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

impl NameEntry {
    fn open(key: &NameKey, known: Vec<IpAddr>) -> Self {
        Self {
            status: ResolverStatus {
                region: Arc::clone(&key.0),
                name: Arc::clone(&key.2),
                addresses: known,
                answered: None,
                ttl: None,
                last: None,
                error: None,
                expired: false,
                beyond_limit: 0,
            },
            answered: None,
            due: Instant::now(),
        }
    }
}

type Tell = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// Keeps one task per origin of the table.
struct ResolverSupervisor {
    registry: Arc<NameRegistry>,
    tell: Tell,
    clock: Clock,
}

impl ResolverSupervisor {
    async fn run(self, mut revisions: watch::Receiver<u64>, names: impl Fn() -> ResolverInput) {
        let mut tasks = JoinSet::new();
        let mut serving = None;
        loop {
            revisions.borrow_and_update();
            let names = names();
            if serving != Some(names.generation) {
                serving = Some(names.generation);
                tasks.abort_all();
                tasks = self.spawn_tasks(&names);
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() {
                    return;
                },
                Some(ended) = tasks.join_next() => if let Err(error) = ended
                    && error.is_panic()
                {
                    tracing::error!(%error, "a resolver task broke; all are started anew");
                    sleep(names.dns.min_ttl).await;
                    serving = None;
                },
            }
        }
    }

    /// The tasks of one generation. Answers that are already known are told at once.
    fn spawn_tasks(&self, names: &ResolverInput) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let resolver = match resolver(&names.dns) {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::error!(%error, "names cannot be resolved before the next reload: no resolver could be set up");
                None
            }
        };
        let mut keys = Vec::new();
        for (index, region) in names.table.regions.iter().enumerate() {
            for (origin, written) in (0_u16..).zip(&region.origins) {
                let sink = AddressSink {
                    generation: names.generation,
                    region: RegionId::at(index),
                    origin,
                    port: written.port,
                    tell: Arc::clone(&self.tell),
                };
                match (&written.host, &resolver) {
                    (OriginHost::Address(address), _) => {
                        let address = *address;
                        tasks.spawn(async move { sink.put(&[address]).await });
                    }
                    (OriginHost::Name(name), Some(resolver)) => {
                        let key = (Arc::clone(&region.name), origin, Arc::clone(name));
                        let known = names.known.get(&(RegionId::at(index), origin));
                        keys.push((key.clone(), known.cloned().unwrap_or_default()));
                        let task = NameTask {
                            key,
                            sink,
                            dns: names.dns.clone(),
                            resolver: resolver.clone(),
                            registry: Arc::clone(&self.registry),
                            clock: self.clock,
                        };
                        tasks.spawn(task.run());
                    }
                    (OriginHost::Name(_), None) => {}
                }
            }
        }
        self.registry.follow(keys);
        tasks
    }
}

/// Where addresses go: one origin of one generation of the table.
struct AddressSink {
    generation: u64,
    region: RegionId,
    origin: u16,
    port: u16,
    tell: Tell,
}

impl AddressSink {
    /// Tells `addresses`, again and again until there is room.
    async fn put(&self, addresses: &[IpAddr]) {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|address| SocketAddr::new(*address, self.port))
            .collect();
        while !(self.tell)(Event::Resolved {
            generation: self.generation,
            region: self.region,
            origin: self.origin,
            addresses: addresses.clone(),
        }) {
            sleep(QUEUE_FULL).await;
        }
    }
}

/// Resolves one name until its generation is over.
struct NameTask {
    key: NameKey,
    sink: AddressSink,
    dns: DnsConfig,
    resolver: TokioResolver,
    registry: Arc<NameRegistry>,
    clock: Clock,
}

impl NameTask {
    async fn run(self) {
        let (known, mut due) = self.known();
        if !known.is_empty() {
            self.sink.put(&known).await;
        }
        loop {
            sleep_until(due).await;
            let (known, _) = self.known();
            let answer = ask(&self.resolver, &self.key.2, &known).await;
            let result = answer.result();
            self.registry.answers[result as usize].increment(1);
            let good = match answer {
                DnsAnswer::Good {
                    addresses,
                    ttl,
                    beyond_limit,
                } => {
                    self.note_good(&addresses, ttl, beyond_limit);
                    Some(addresses)
                }
                DnsAnswer::Bad { result, error } => {
                    self.note_bad(result, &error);
                    None
                }
            };
            due = self.known().1;
            if let Some(addresses) = good {
                self.sink.put(&addresses).await;
            }
            self.registry.touch();
        }
    }

    /// The last good addresses, and when to ask next.
    fn known(&self) -> (Vec<IpAddr>, Instant) {
        let entries = self.registry.lock();
        match entries.get(&self.key) {
            Some(entry) => (entry.status.addresses.clone(), entry.due),
            None => (Vec::new(), Instant::now()),
        }
    }

    fn note_good(&self, addresses: &[IpAddr], ttl: Duration, beyond_limit: usize) {
        let ttl = ttl.max(self.dns.min_ttl).min(self.dns.max_ttl);
        let now = Instant::now();
        let mut entries = self.registry.lock();
        let Some(entry) = entries.get_mut(&self.key) else {
            return;
        };
        let before = std::mem::replace(
            &mut entry.status,
            ResolverStatus {
                region: Arc::clone(&self.key.0),
                name: Arc::clone(&self.key.2),
                addresses: addresses.to_vec(),
                answered: Some(self.clock.wall()),
                ttl: Some(ttl),
                last: Some(DnsResult::Ok),
                error: None,
                expired: false,
                beyond_limit,
            },
        );
        entry.answered = Some(now);
        entry.due = now + ttl;
        drop(entries);
        let (region, name) = (&self.key.0, &self.key.2);
        if before.last.is_some_and(|last| last != DnsResult::Ok) {
            let count = addresses.len();
            tracing::info!(%region, origin = %name, addresses = count, "origin resolves again");
        }
        if beyond_limit > 0 {
            self.registry.over_limit.increment(1);
            if before.beyond_limit == 0 {
                tracing::warn!(%region, origin = %name, used = ADDRESS_LIMIT, unused = beyond_limit, "origin has more addresses than are used");
            }
        }
    }

    fn note_bad(&self, result: DnsResult, error: &str) {
        let now = Instant::now();
        let mut entries = self.registry.lock();
        let Some(entry) = entries.get_mut(&self.key) else {
            return;
        };
        let kept = entry.status.addresses.len();
        let expired = entry
            .answered
            .is_some_and(|answered| now.duration_since(answered) > self.dns.keep_last_good);
        let news = entry.status.last != Some(result) || entry.status.expired != expired;
        entry.status.last = Some(result);
        entry.status.error = Some(error.to_owned());
        entry.status.expired = expired;
        entry.due = now + self.dns.min_ttl;
        drop(entries);
        if !news {
            return;
        }
        let (region, name, result) = (&self.key.0, &self.key.2, result.label());
        if expired {
            tracing::error!(%region, origin = %name, result, error, kept, "origin has not resolved for longer than dns.keep_last_good");
        } else if kept > 0 {
            tracing::warn!(%region, origin = %name, result, error, kept, "origin does not resolve; the last good answer is kept");
        } else {
            tracing::warn!(%region, origin = %name, result, error, "origin does not resolve; it is asked for again");
        }
    }
}

/// A resolver for `dns.servers`, or for the system's settings where none are written. Both read
/// the system's hosts file first.
fn resolver(dns: &DnsConfig) -> Result<TokioResolver, NetError> {
    let mut builder = if dns.servers.is_empty() {
        TokioResolver::builder_tokio().unwrap_or_else(|error| {
            // As the C library does: without settings there may be a server on this machine, and
            // there is the hosts file.
            let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 53));
            tracing::warn!(%error, server = %local, "the system names no DNS server");
            asking(&[local])
        })
    } else {
        asking(&dns.servers)
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_ATTEMPTS;
    builder.build()
}

fn asking(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let servers = servers.iter().map(name_server).collect();
    TokioResolver::builder_with_config(
        ResolverConfig::from_name_servers(servers),
        TokioRuntimeProvider::default(),
    )
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    // An NXDOMAIN of the first server is an answer: asking the others only delays it.
    NameServerConfig::new(address.ip(), true, connections)
}
