//! What live requests add to the latency that probes measure.
//!
//! Probes ask all regions the same, requests do not: a route that takes 200 ms in its application
//! takes them in every region. So requests count only against each other, on one route: a region's
//! excess is how much later its answers come, compared with what its probes promise, than those of
//! the sibling that keeps its promise best. A region without requests has none, and is compared by
//! its probes alone.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::health::latency::LatencyEstimate;
use crate::model::id::{RegionId, RouteId};
use crate::model::time::Timestamp;

/// Seconds with requests until their first bytes are believed.
const ENOUGH: usize = 5;

/// By region: how much later than its probes promise a region answers live requests, compared with
/// the best of its siblings; the least of all routes where there is a comparison, so that one slow
/// route moves no other. Zero where nothing can be compared.
#[must_use]
pub fn excess(
    live: &BTreeMap<(RouteId, RegionId), LatencyEstimate>,
    probed: &[Option<Duration>],
    now: Timestamp,
) -> Vec<Duration> {
    let mut least: Vec<Option<Duration>> = vec![None; probed.len()];
    let mut route_late: Vec<(RegionId, i64)> = Vec::new();
    let mut entries = live.iter().peekable();
    while let Some((&(route, region), estimate)) = entries.next() {
        let promised = probed.get(region.index()).copied().flatten();
        let measured = estimate
            .estimate(now)
            .filter(|found| found.samples >= ENOUGH);
        if let (Some(measured), Some(promised)) = (measured, promised) {
            route_late.push((region, micros(measured.median) - micros(promised)));
        }
        // Entries are in order of their routes.
        if entries.peek().is_none_or(|((next, _), _)| *next != route) {
            compare(&route_late, &mut least);
            route_late.clear();
        }
    }
    least.into_iter().map(Option::unwrap_or_default).collect()
}

fn compare(late: &[(RegionId, i64)], least: &mut [Option<Duration>]) {
    let Some(best) = late.iter().map(|(_, late)| *late).min() else {
        return;
    };
    if late.len() < 2 {
        return;
    }
    for (region, late) in late {
        let more = Duration::from_micros(late.abs_diff(best));
        if let Some(place) = least.get_mut(region.index()) {
            *place = Some(place.map_or(more, |known| known.min(more)));
        }
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::outcome::Phases;

    const NOW: Timestamp = Timestamp::ZERO;

    fn live(seen: &[(u32, u8, u64)]) -> BTreeMap<(RouteId, RegionId), LatencyEstimate> {
        let estimate = |millis| {
            let mut estimate = LatencyEstimate::default();
            for _ in 0..ENOUGH {
                let phases = Phases {
                    first_byte: Some(Duration::from_millis(millis)),
                    ..Phases::default()
                };
                estimate.observe(phases, true, NOW);
            }
            estimate
        };
        seen.iter()
            .map(|(route, region, millis)| {
                ((RouteId(*route), RegionId(*region)), estimate(*millis))
            })
            .collect()
    }

    fn millis(excess: &[Duration]) -> Vec<u128> {
        excess.iter().map(Duration::as_millis).collect()
    }

    fn probed(millis: &[u64]) -> Vec<Option<Duration>> {
        let known = |millis: &u64| Some(Duration::from_millis(*millis));
        millis.iter().map(known).collect()
    }

    #[test]
    fn an_application_that_is_as_slow_everywhere_adds_nothing() {
        let live = live(&[(0, 0, 205), (0, 1, 240), (0, 2, 320)]);
        let found = excess(&live, &probed(&[5, 40, 120]), NOW);
        assert_eq!(millis(&found), [0, 0, 0]);
    }

    #[test]
    fn a_region_whose_requests_are_slower_than_its_probes_promise_stands_back() {
        let live = live(&[(0, 0, 290), (0, 1, 240)]);
        let found = excess(&live, &probed(&[5, 40]), NOW);
        assert_eq!(millis(&found), [85, 0]);
    }

    #[test]
    fn without_a_sibling_to_compare_with_probes_decide_alone() {
        let found = excess(&live(&[(0, 0, 900), (1, 1, 40)]), &probed(&[5, 40]), NOW);
        assert_eq!(millis(&found), [0, 0]);
    }

    #[test]
    fn one_slow_route_moves_no_other() {
        let live = live(&[(0, 0, 500), (0, 1, 40), (1, 0, 5), (1, 1, 40)]);
        let found = excess(&live, &probed(&[5, 40]), NOW);
        assert_eq!(millis(&found), [0, 0]);
    }
}
