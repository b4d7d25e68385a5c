//! When and why each region last changed: the board's history is short, and a region may be down
//! for days.

use std::sync::Arc;

use crate::apply::Transition;
use crate::decide::snapshot::{LastChange, Snapshot};
use crate::model::id::RegionId;
use crate::model::time::Timestamp;

/// Keeps with each region what `transitions`, and a probation that began or ended, say of it.
pub(super) fn note(old: &Snapshot, new: &mut Snapshot, transitions: &[Transition], now: Timestamp) {
    let table = Arc::clone(&new.table);
    // A reload numbers regions anew, and neither begins nor ends a probation.
    let probations = (old.generation == new.generation).then_some((old.probation, new.probation));
    for (index, region) in table.regions.iter().enumerate() {
        let mut causes = causes(transitions, &region.name);
        let id = RegionId::at(index);
        let was_and_is = probations.map(|(old, new)| (old.contains(id), new.contains(id)));
        match was_and_is {
            Some((false, true)) => causes.push("its probes pass again, so it is on probation"),
            Some((true, false)) if causes.is_empty() => {
                causes.push("a probation request was not answered well");
            }
            _ => {}
        }
        if let (false, Some(state)) = (causes.is_empty(), new.regions.get_mut(index)) {
            state.last_change = Some(LastChange {
                at: now,
                cause: causes.join("; ").into(),
            });
        }
    }
}

/// What was said of the region called `name`: why its health changed, then what follows from it.
fn causes<'a>(transitions: &'a [Transition], name: &str) -> Vec<&'a str> {
    let said = |wants_health: bool| {
        transitions.iter().filter_map(move |transition| {
            let (region, cause, is_health) = match transition {
                Transition::Region { region, cause, .. } => (region, cause, true),
                Transition::Failback { region, cause, .. }
                | Transition::EjectionSuppressed { region, cause }
                | Transition::Operator { region, cause, .. } => (region, cause, false),
                Transition::Endpoint { .. }
                | Transition::Leader { .. }
                | Transition::CorrelatedFailure { .. }
                | Transition::Addresses { .. } => return None,
            };
            (**region == *name && is_health == wants_health).then_some(cause.as_str())
        })
    };
    said(true).chain(said(false)).collect()
}
