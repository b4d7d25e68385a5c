//! A new table: what of the old beliefs still holds.

use std::sync::Arc;

use crate::apply::beliefs::Beliefs;
use crate::apply::failback;
use crate::apply::region_state::RegionState;
use crate::change::ChangeCause;
use crate::decide::snapshot::EndpointState;
use crate::health::slots::Slots;
use crate::model::id::RegionId;
use crate::model::viewer::UnknownViewer;
use crate::table::RoutingTable;
use crate::table::origin::Region;

/// Puts `table` in place. Regions are matched by name.
pub(super) fn replace(
    beliefs: &mut Beliefs,
    table: Arc<RoutingTable>,
    unknown: UnknownViewer,
) -> Option<ChangeCause> {
    let before = std::mem::replace(&mut beliefs.table, table);
    let mut states = std::mem::take(&mut beliefs.regions);
    for region in &beliefs.table.regions {
        let old = before.region_named(&region.name);
        let state = old.map_or_else(RegionState::default, |id| {
            let state = std::mem::take(&mut states[id.index()]);
            carried_over(state, before.region(id), region, &mut beliefs.slots)
        });
        beliefs.regions.push(state);
    }
    for gone in states.iter().flat_map(|state| state.endpoints.iter()) {
        beliefs.slots.release(gone.id);
    }
    failback::follow_policies(&mut beliefs.regions, &before, &beliefs.table);
    let table = &beliefs.table;
    beliefs.order = beliefs.order.renumbered(|old: RegionId| {
        let region = before.regions.get(old.index())?;
        table.region_named(&region.name)
    });
    // Routes and regions have other numbers now.
    beliefs.traffic = Default::default();
    beliefs.live = Vec::new();
    beliefs.worse = Default::default();
    beliefs.unknown = unknown;
    beliefs.generation += 1;
    Some(ChangeCause::TableLoaded {
        generation: beliefs.generation,
    })
}

/// A region's state under its new definition.
///
/// Endpoints of an origin that is still written keep all they have while it is spoken to alike.
/// Spoken to differently, the addresses stay but start anew, with other numbers, so that no
/// connection made for the old settings is used; dropping them would leave the region without
/// an address until the next resolution. Endpoints of origins that went are freed.
fn carried_over(state: RegionState, from: &Region, to: &Region, slots: &mut Slots) -> RegionState {
    if from.shares_connections_with(to) {
        return state;
    }
    let mut endpoints: Vec<EndpointState> = Vec::with_capacity(state.endpoints.len());
    for endpoint in state.endpoints.iter() {
        let written = from.origins.get(usize::from(endpoint.origin));
        let place = written.and_then(|old| to.origins.iter().position(|origin| origin == old));
        let Some(origin) = place.and_then(|place| u16::try_from(place).ok()) else {
            slots.release(endpoint.id);
            continue;
        };
        if from.upstream == to.upstream {
            endpoints.push(EndpointState {
                origin,
                ..endpoint.clone()
            });
        } else {
            slots.release(endpoint.id);
            endpoints.push(EndpointState::new(
                slots.allocate(),
                endpoint.address,
                origin,
            ));
        }
    }
    endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.origin));
    RegionState {
        endpoints: endpoints.into(),
        ..state
    }
}
