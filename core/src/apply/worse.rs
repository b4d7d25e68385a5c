//! Which returning regions do worse than others: their ramp stands still.

use std::time::Duration;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::RegionState;
use crate::health::traffic::LiveLatency;
use crate::model::id::{RegionId, RegionSet};
use crate::model::time::Timestamp;

/// More than twice as long as usual and this much is worse: a ratio tells at any scale, and less than
/// this is the noise of a busy machine.
const NOISE: Duration = Duration::from_millis(5);

/// Seconds with requests until their first bytes are believed.
const ENOUGH: usize = 3;

/// Returning regions that do worse than one that has all its traffic on the same route: more of their
/// requests fail, or take more than twice as long as they used to while the other's do not.
pub(super) fn worse(beliefs: &Beliefs, now: Timestamp) -> RegionSet {
    if !beliefs.regions.iter().any(is_ramping) {
        return RegionSet::EMPTY;
    }
    failing(beliefs, now).or(slow(beliefs, now))
}

fn failing(beliefs: &Beliefs, now: Timestamp) -> RegionSet {
    let sums: Vec<_> = beliefs.traffic.sums(now).collect();
    let worse = sums.iter().filter(|((route, region), sum)| {
        let is_better = |((of, other), sibling): &_| {
            of == route && stays(beliefs, *region, *other) && sum.fails_more_than(sibling)
        };
        sums.iter().any(is_better)
    });
    worse.map(|((_, region), _)| *region).collect()
}

fn slow(beliefs: &Beliefs, now: Timestamp) -> RegionSet {
    let live: Vec<_> = beliefs.traffic.live(now).collect();
    let is_slow = |one: &LiveLatency| {
        let usual = beliefs.regions.get(one.region.index());
        let usual = usual.and_then(|state| state.usual_latency(now));
        one.estimate.samples >= ENOUGH
            && usual.is_some_and(|usual| one.estimate.median > usual * 2 + NOISE)
    };
    let worse = live.iter().filter(|one| {
        let is_better = |other: &&LiveLatency| {
            other.route == one.route && stays(beliefs, one.region, other.region) && !is_slow(other)
        };
        is_slow(one) && live.iter().any(|other| is_better(&other))
    });
    worse.map(|one| one.region).collect()
}

/// Whether `region` is on its way back and `other` is not, so that it may be compared with it.
fn stays(beliefs: &Beliefs, region: RegionId, other: RegionId) -> bool {
    let ramping = |region: RegionId| beliefs.regions.get(region.index()).is_some_and(is_ramping);
    ramping(region) && !ramping(other)
}

fn is_ramping(region: &RegionState) -> bool {
    let mut failbacks = region.failback.iter();
    failbacks.any(|failback| (1..100).contains(&failback.stage().share()))
}
