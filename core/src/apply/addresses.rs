//! An origin's addresses: which are new, which stay, which went.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::apply::beliefs::Beliefs;
use crate::change::{ChangeCause, Changes, Subject, What};
use crate::decide::snapshot::EndpointState;
use crate::model::id::RegionId;
use crate::table::origin::OriginHost;

/// How many addresses of one origin are used, the lowest ones. Large load balancers answer with
/// some 60; each one costs probes and a pool in every worker.
pub const MAX_ADDRESSES: usize = 128;

/// Takes in the addresses that the table itself writes: they need no name server, so that the
/// first request under a new table finds them.
pub(super) fn resolve_written(beliefs: &mut Beliefs) {
    let table = Arc::clone(&beliefs.table);
    for (index, region) in table.regions.iter().enumerate() {
        for (origin, written) in (0..).zip(&region.origins) {
            if let OriginHost::Address(address) = written.host {
                let address = SocketAddr::new(address, written.port);
                let id = RegionId::at(index);
                // What comes with a table is told as the table's own change.
                let _ = resolve(beliefs, id, origin, &[address]);
            }
        }
    }
}

/// What became of an origin's addresses.
pub(super) struct Resolution {
    region: Arc<str>,
    url: Arc<str>,
    addresses: usize,
    added: usize,
    removed: usize,
}

impl Resolution {
    /// Tells it as a change.
    pub(super) fn tell(self, changes: &mut Changes) -> ChangeCause {
        let cause = ChangeCause::Resolved {
            url: Arc::clone(&self.url),
            addresses: self.addresses,
        };
        let subject = Subject::Origin {
            region: self.region,
            url: self.url,
        };
        let (added, removed) = (self.added, self.removed);
        changes.tell(subject, What::Addresses { added, removed }, cause.clone());
        cause
    }
}

/// Takes in all addresses an origin has now. Known ones keep their number and all beliefs.
pub(super) fn resolve(
    beliefs: &mut Beliefs,
    region: RegionId,
    origin: u16,
    addresses: &[SocketAddr],
) -> Option<Resolution> {
    let definition = beliefs.table.regions.get(region.index())?;
    let url = definition.origins.get(usize::from(origin))?.url();
    let state = beliefs.regions.get_mut(region.index())?;
    // No answer is no news: the last good addresses stay.
    let mut wanted = addresses.to_vec();
    if wanted.is_empty() {
        return None;
    }
    wanted.sort_unstable();
    wanted.dedup();
    wanted.truncate(MAX_ADDRESSES);

    let stays = |endpoint: &&EndpointState| {
        endpoint.origin != origin || wanted.binary_search(&endpoint.address).is_ok()
    };
    let mut endpoints: Vec<EndpointState> = state.endpoints.iter().filter(stays).cloned().collect();
    let removed = state.endpoints.len() - endpoints.len();
    for gone in state.endpoints.iter().filter(|endpoint| !stays(endpoint)) {
        beliefs.slots.release(gone.id);
    }
    let is_new = |address: &SocketAddr| {
        let mut known = state.endpoints.iter();
        !known.any(|endpoint| endpoint.origin == origin && endpoint.address == *address)
    };
    let mut added = 0;
    for address in wanted.iter().copied().filter(is_new) {
        endpoints.push(EndpointState::new(
            beliefs.slots.allocate(),
            address,
            origin,
        ));
        added += 1;
    }
    if added + removed == 0 {
        return None;
    }
    endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.origin));
    state.endpoints = endpoints.into();
    Some(Resolution {
        region: Arc::clone(&definition.name),
        url: url.into(),
        addresses: wanted.len(),
        added,
        removed,
    })
}
