//! Names to addresses, continuously: one task per origin that is written as a name.
//!
//! An answer that is empty, an error or missing never takes an origin away: the last good one is
//! kept and asked for again. hickory's own cache is off, the schedule here is the only one.

mod answer;
mod client;
mod name_registry;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::telemetry::metrics::{MetricsRegistry, families};
use crate::upstream::dns::answer::{DnsAnswer, ask};
use crate::upstream::dns::client::resolver;
use crate::upstream::dns::name_registry::{NameEntry, NameKey, NameRegistry};
use meridian_core::apply::Event;
use meridian_core::config::DnsConfig;
use meridian_core::model::id::RegionId;
use meridian_core::table::RoutingTable;
use meridian_core::table::origin::OriginHost;

pub use crate::upstream::dns::answer::{ADDRESS_LIMIT, DnsResult};

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

/// Starts resolving on the current tokio runtime.
///
/// `names` is read now and whenever `revisions` changes; the tasks end when its sender is gone. Every
/// good answer goes to `tell` as [`Event::Resolved`], an address that is written in the table once
/// per generation; `tell` says whether there was room.
pub fn resolve(
    revisions: watch::Receiver<u64>,
    names: impl Fn() -> ResolverInput + Send + Sync + 'static,
    tell: impl Fn(Event) -> bool + Send + Sync + 'static,
    registry: &MetricsRegistry,
) {
    let supervisor = ResolverSupervisor {
        registry: Arc::new(NameRegistry {
            entries: Mutex::default(),
            answers: DnsResult::ALL
                .map(|result| registry.counter(&families::DNS_ANSWERS, &[result.label()])),
            over_limit: registry.counter(&families::DNS_ANSWERS_OVER_LIMIT, &[]),
        }),
        tell: Arc::new(tell),
    };
    tokio::spawn(supervisor.run(revisions, names));
}

type Tell = Arc<dyn Fn(Event) -> bool + Send + Sync>;

/// Keeps one task per origin of the table.
struct ResolverSupervisor {
    registry: Arc<NameRegistry>,
    tell: Tell,
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
        }
    }

    /// The last good addresses, and when to ask next.
    fn known(&self) -> (Vec<IpAddr>, Instant) {
        let entries = self.registry.lock();
        match entries.get(&self.key) {
            Some(entry) => (entry.addresses.clone(), entry.due),
            None => (Vec::new(), Instant::now()),
        }
    }

    fn note_good(&self, addresses: &[IpAddr], ttl: Duration, beyond_limit: usize) {
        let now = Instant::now();
        let mut entries = self.registry.lock();
        let Some(entry) = entries.get_mut(&self.key) else {
            return;
        };
        let news = NameEntry {
            addresses: addresses.to_vec(),
            last: Some(DnsResult::Ok),
            expired: false,
            beyond_limit,
            answered: Some(now),
            due: now + kept_for(ttl, &self.dns),
        };
        let before = std::mem::replace(entry, news);
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
        let kept = entry.addresses.len();
        let expired = entry
            .answered
            .is_some_and(|answered| now.duration_since(answered) > self.dns.keep_last_good);
        let news = entry.last != Some(result) || entry.expired != expired;
        entry.last = Some(result);
        entry.expired = expired;
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

/// How long an answer is kept before its name is asked for again.
fn kept_for(ttl: Duration, dns: &DnsConfig) -> Duration {
    ttl.max(dns.min_ttl).min(dns.max_ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_kept_within_its_bounds() {
        for (ttl, kept) in [(0, 5), (30, 30), (86_400, 60)] {
            let kept_for = kept_for(Duration::from_secs(ttl), &DnsConfig::default());
            assert_eq!(kept_for, Duration::from_secs(kept));
        }
    }
}
