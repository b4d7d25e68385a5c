//! What is known of every name, for the tasks that ask and for those who want to see it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::Counter;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::upstream::dns::answer::DnsResult;

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
    /// Addresses of the last good answer beyond [`ADDRESS_LIMIT`](crate::upstream::dns::ADDRESS_LIMIT), which are not used.
    pub beyond_limit: usize,
}

/// A name of the table: the region's name, which of its origins, and what it is called. Survives
/// a reload as long as nothing of it changes.
pub(super) type NameKey = (Arc<str>, u16, Arc<str>);

/// What the tasks and their readers share: one entry per name.
#[derive(Debug)]
pub(super) struct NameRegistry {
    pub(super) entries: Mutex<BTreeMap<NameKey, NameEntry>>,
    pub(super) answers: [Counter; DnsResult::ALL.len()],
    pub(super) over_limit: Counter,
    pub(super) changed: watch::Sender<u64>,
}

#[derive(Debug)]
pub(super) struct NameEntry {
    pub(super) status: ResolverStatus,
    /// When the last good answer came, on the monotonic clock.
    pub(super) answered: Option<Instant>,
    /// When to ask next.
    pub(super) due: Instant,
}

impl NameRegistry {
    pub(super) fn lock(&self) -> MutexGuard<'_, BTreeMap<NameKey, NameEntry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the entries of `keys`, drops the others and adds the missing ones with what is known.
    pub(super) fn follow(&self, keys: Vec<(NameKey, Vec<IpAddr>)>) {
        let mut entries = self.lock();
        entries.retain(|key, _| keys.iter().any(|(wanted, _)| wanted == key));
        for (key, known) in keys {
            let entry = NameEntry::open(&key, known);
            entries.entry(key).or_insert(entry);
        }
        drop(entries);
        self.touch();
    }

    pub(super) fn touch(&self) {
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
