//! What the resolver is told of the board: which names, and what is known of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::board::Board;
use crate::telemetry::metrics::MetricsRegistry;
use crate::upstream::dns::{ResolverInput, resolve};
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::id::RegionId;

/// Starts resolving the names of what `board` publishes.
pub(super) fn follow(board: &Board, registry: &MetricsRegistry) {
    let (reader, writer) = (board.clone(), board.clone());
    let names = move || {
        let live = reader.live();
        ResolverInput {
            generation: live.snapshot.generation,
            table: Arc::clone(&live.snapshot.table),
            dns: live.resources.config.dns.clone(),
            known: addresses(&live.snapshot),
        }
    };
    let tell = move |event| writer.tell(event);
    resolve(board.revisions(), names, tell, registry);
}

/// The addresses in use of each origin, by region.
fn addresses(snapshot: &Snapshot) -> BTreeMap<(RegionId, u16), Vec<IpAddr>> {
    let mut known: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, region) in snapshot.regions.iter().enumerate() {
        for endpoint in region.endpoints.iter() {
            let origin = (RegionId::at(index), endpoint.origin);
            known.entry(origin).or_default().push(endpoint.address.ip());
        }
    }
    known
}
