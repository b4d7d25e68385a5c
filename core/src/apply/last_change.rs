//! When and why each region last changed: the board's history is short, and a region may be down
//! for days.

use std::sync::Arc;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::LastChange;
use crate::change::{Change, ChangeCause, Changes, Subject};
use crate::model::id::RegionId;

/// Keeps with each region what `changes`, and a probation that began or ended, say of it.
pub(super) fn note(old: &Beliefs, new: &mut Beliefs, changes: &Changes) {
    let table = Arc::clone(&new.table);
    // A reload numbers regions anew, and neither begins nor ends a probation.
    let probations =
        (old.generation == new.generation).then_some((old.probation(), new.probation()));
    for (index, region) in table.regions.iter().enumerate() {
        let mut causes = causes(&changes.all, &region.name);
        let id = RegionId::at(index);
        match probations.map(|(old, new)| (old.contains(id), new.contains(id))) {
            Some((false, true)) => causes.push(ChangeCause::Probation),
            Some((true, false)) if causes.is_empty() => causes.push(ChangeCause::ProbationFailed),
            _ => {}
        }
        if let (false, Some(state)) = (causes.is_empty(), new.regions.get_mut(index)) {
            state.last_change = Some(LastChange {
                at: changes.now,
                causes: causes.into(),
            });
        }
    }
}

/// Why the region called `name` changed, as it was told.
fn causes(changes: &[Change], name: &str) -> Vec<ChangeCause> {
    let is_of_it = |change: &&Change| match &change.subject {
        Subject::Region { region } => **region == *name,
        _ => false,
    };
    let causes = changes.iter().filter(is_of_it);
    causes.map(|change| change.cause.clone()).collect()
}
