//! An operator's agreement that a region gets its traffic back.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::NotConfirmed;
use crate::board::Board;
use meridian_core::apply::{Beliefs, Event};
use meridian_core::change::What;
use meridian_core::health::failback::{Failback, Stage};

/// Has the region called `name` return, and says how far its return is then.
pub(super) async fn confirm(board: Board, name: String) -> Result<Value, NotConfirmed> {
    let region: Arc<str> = name.into();
    let changes = board
        .ask(Event::Confirm {
            region: Arc::clone(&region),
        })
        .await;
    let of_region = changes
        .iter()
        .filter(|change| change.subject.region() == Some(&region));
    let stage = of_region.into_iter().find_map(|change| match change.what {
        What::Failback(stage) => Some(stage),
        _ => None,
    });
    match stage {
        Some(stage) => Ok(json!({
            "region": &*region,
            "stage": stage.label(),
            "share_percent": stage.share(),
            "message": message(&region, stage),
        })),
        None => Err(refusal(&board.live().beliefs, &region)),
    }
}

fn message(region: &str, stage: Stage) -> String {
    match stage {
        Stage::Ramping { share } => {
            format!("{region} takes {share} % of its viewers now, and more step by step")
        }
        _ => format!("{region} takes all of its viewers again"),
    }
}

/// Why nothing was done.
fn refusal(beliefs: &Beliefs, region: &str) -> NotConfirmed {
    let table = &beliefs.table;
    let state = table
        .region_named(region)
        .and_then(|id| beliefs.regions.get(id.index()));
    let Some(state) = state else {
        let names = table.regions.iter().map(|region| region.name.to_string());
        return NotConfirmed::UnknownRegion {
            known: names.collect(),
        };
    };
    // The failback that is furthest behind says why there is nothing to agree to.
    let stages = state.failback.iter().map(Failback::stage);
    let stage = stages.min_by_key(|stage| stage.share()).unwrap_or_default();
    NotConfirmed::NotWaiting(match stage {
        Stage::Down => {
            format!("{region} is down: confirm it when `meridian status` shows that it waits")
        }
        Stage::Ramping { share } => format!(
            "{region} waits for nothing: it takes {share} % of its viewers already, and more step \
             by step"
        ),
        _ => format!("{region} waits for nothing"),
    })
}
