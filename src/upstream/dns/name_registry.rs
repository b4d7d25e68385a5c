//! What is known of every name, kept across reloads.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Counter;
use tokio::time::Instant;

use crate::upstream::dns::answer::DnsResult;

/// A name of the table: the region's name, which of its origins, and what it is called. Survives
/// a reload as long as nothing of it changes.
pub(super) type NameKey = (Arc<str>, u16, Arc<str>);

/// What the tasks share: one entry per name.
#[derive(Debug)]
pub(super) struct NameRegistry {
    pub(super) entries: Mutex<BTreeMap<NameKey, NameEntry>>,
    pub(super) answers: [Counter; DnsResult::ALL.len()],
    pub(super) over_limit: Counter,
}

/// What is known of one name.
#[derive(Debug)]
pub(super) struct NameEntry {
    /// The addresses of the last good answer; empty before the first.
    pub(super) addresses: Vec<IpAddr>,
    /// How the last question ended.
    pub(super) last: Option<DnsResult>,
    /// Whether the last good answer is older than it should be kept.
    pub(super) expired: bool,
    /// Addresses of the last good answer beyond [`ADDRESS_LIMIT`](crate::upstream::dns::ADDRESS_LIMIT), which are not used.
    pub(super) beyond_limit: usize,
    /// When the last good answer came.
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
        for (key, addresses) in keys {
            entries.entry(key).or_insert_with(|| NameEntry {
                addresses,
                last: None,
                expired: false,
                beyond_limit: 0,
                answered: None,
                due: Instant::now(),
            });
        }
    }
}
