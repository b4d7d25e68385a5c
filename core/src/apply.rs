//! One event, new beliefs: how what we believe changes.

mod addresses;
mod beliefs;
mod endpoint_health;
mod event;
mod restore;
mod reload;
mod saved;
mod region_ejection;
mod region_state;
mod failback;
mod summary;
mod last_change;
mod traffic;
mod worse;

use crate::change::{Change, ChangeCause, Changes};
use crate::model::time::Timestamp;

pub use crate::apply::addresses::MAX_ADDRESSES;
pub use crate::apply::beliefs::Beliefs;
pub use crate::apply::event::{Event, LateAnswers, WindowCount};
pub use crate::apply::region_state::{LastChange, RegionLatency, RegionState};
pub use crate::apply::restore::BELIEFS_LAST;
pub use crate::apply::saved::{FORMAT, SavedBeliefs};

/// The beliefs after `event`, and what changed. `old` stays as it is.
///
/// The revision rises if and only if anything changed: an event about an endpoint or a region
/// that is no longer known gives back what was.
#[must_use]
pub fn apply(old: &Beliefs, event: Event, now: Timestamp) -> (Beliefs, Vec<Change>) {
    let mut new = old.clone();
    let mut changes = Changes::at(now);
    let cause = match event {
        Event::Table { table, unknown } => {
            let cause = reload::replace(&mut new, table, unknown);
            addresses::resolve_written(&mut new);
            cause
        }
        Event::Resolved {
            generation,
            region,
            origin,
            addresses,
        } if generation == old.generation => {
            let resolution = addresses::resolve(&mut new, region, origin, &addresses);
            resolution.map(|resolution| resolution.tell(&mut changes))
        }
        Event::Resolved { .. } => None,
        Event::Probed { endpoint, outcome } => {
            endpoint_health::probed(&mut new, endpoint, outcome, &mut changes)
        }
        Event::TrafficFailed {
            endpoint,
            kind,
            in_a_row,
        } => endpoint_health::traffic_failed(&mut new, endpoint, kind, in_a_row, &mut changes),
        Event::TrafficLate { endpoint, lates } => {
            traffic::late(&mut new, endpoint, lates, &mut changes)
        }
        Event::TrafficWindow { generation, counts } if generation == old.generation => {
            traffic::window(&mut new, &counts, &mut changes)
        }
        Event::TrafficWindow { .. } => None,
        Event::Suspected { endpoint } => endpoint_health::suspected(&mut new, endpoint, now),
        Event::ProbationAnswered { endpoint, good } => {
            endpoint_health::probation_answered(&mut new, endpoint, good, &mut changes)
        }
        Event::Operator { region, state } => {
            endpoint_health::operator(&mut new, &region, state, &mut changes)
        }
        Event::Confirm { region } => failback::confirm(&mut new, &region, &mut changes),
        Event::Restored {
            saved,
            away,
            keep_names,
        } => restore::restore(&mut new, &saved, away, keep_names, now),
        Event::Tick => {
            traffic::grow_old(&mut new, now);
            None
        }
    };
    conclude(old, &mut new, cause, &mut changes);
    (new, changes.all)
}

/// Brings up to date what follows from an event: `cause` says what it changed, absent when that is
/// nothing and only time passed.
fn conclude(old: &Beliefs, new: &mut Beliefs, cause: Option<ChangeCause>, changes: &mut Changes) {
    let is_news = cause.is_some();
    let cause = cause.unwrap_or(ChangeCause::TimePassed);
    let summary_changed = summary::refresh(old, new, &cause, changes);
    last_change::note(old, new, changes);
    // After the note: a region that is now the fastest did not change itself.
    summary::tell_leader(old, new, &cause, changes);
    if is_news || summary_changed {
        new.revision += 1;
    }
}
