//! What live requests add to the latency that probes measure.
//!
//! Probes ask all regions the same, requests do not: a route that takes 200 ms in its application
//! takes them in every region. So requests count only against each other, on one route and for mostly
//! the same paths: a region's excess is how much later its answers come, compared with what its probes
//! promise, than those of the sibling that keeps its promise best. A region without such requests has
//! none, and is compared by its probes alone.

use std::time::Duration;

use crate::health::traffic::LiveLatency;

/// Seconds with requests until their first bytes are believed.
const ENOUGH: usize = 5;

/// What live requests say of the latency that a region's probes promise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LiveComparison {
    /// How much later than its probes promise it answers, compared with the best of its siblings; the
    /// least of all routes where there is a comparison, so that one slow route moves no other. Zero
    /// where nothing can be compared.
    pub excess: Duration,
    /// The shortest median of its routes.
    pub fastest: Option<Duration>,
}

impl LiveComparison {
    /// The latency, where probes measure `probed`. A health check that takes more than twice as long
    /// as requests do says more of itself than of the region.
    #[must_use]
    pub fn corrected(&self, probed: Duration) -> Duration {
        let fastest = self.fastest.filter(|fastest| *fastest * 2 < probed);
        fastest.unwrap_or(probed) + self.excess
    }
}

/// What live requests say, by region; `live` is in order of routes.
#[must_use]
pub fn compare(
    live: impl Iterator<Item = LiveLatency>,
    probed: &[Option<Duration>],
) -> Vec<LiveComparison> {
    let known: Vec<_> = live
        .filter(|one| one.estimate.samples >= ENOUGH)
        .filter_map(|one| {
            let promised = probed.get(one.region.index()).copied().flatten()?;
            let late = micros(one.estimate.median) - micros(promised);
            Some((one, late))
        })
        .collect();
    let mut least: Vec<Option<Duration>> = vec![None; probed.len()];
    for route in known.chunk_by(|(one, _), (other, _)| one.route == other.route) {
        for (one, late) in route {
            let alike = route
                .iter()
                .filter(|(other, _)| other.region != one.region && one.seen.is_alike(&other.seen));
            if let Some(best) = alike.map(|(_, late)| *late).min() {
                let more = u64::try_from(late - best).map_or(Duration::ZERO, Duration::from_micros);
                let place = &mut least[one.region.index()];
                *place = Some(place.map_or(more, |known| known.min(more)));
            }
        }
    }
    let of = |(index, excess): (usize, Option<Duration>)| {
        let here = known.iter().filter(|(one, _)| one.region.index() == index);
        LiveComparison {
            excess: excess.unwrap_or_default(),
            fastest: here.map(|(one, _)| one.estimate.median).min(),
        }
    };
    least.into_iter().enumerate().map(of).collect()
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::breadth::Breadth;
    use crate::health::latency::Estimate;
    use crate::model::id::{RegionId, RouteId};

    /// Routes and regions, their milliseconds, and the path that is asked for.
    fn live_of<'a>(seen: &'a [(u32, u8, u64, &'a str)]) -> impl Iterator<Item = LiveLatency> + 'a {
        seen.iter()
            .map(|(route, region, millis, path)| LiveLatency {
                route: RouteId(*route),
                region: RegionId(*region),
                estimate: Estimate {
                    median: Duration::from_millis(*millis),
                    spread: Duration::ZERO,
                    age: Duration::ZERO,
                    samples: ENOUGH,
                    warm: true,
                },
                seen: Breadth::of([203, 0, 113, *region].into(), path),
            })
    }

    fn millis(seen: &[(u32, u8, u64, &str)], probed: &[u64]) -> Vec<u128> {
        let known = |millis: &u64| Some(Duration::from_millis(*millis));
        let probed: Vec<_> = probed.iter().map(known).collect();
        let found = compare(live_of(seen), &probed);
        found.iter().map(|one| one.excess.as_millis()).collect()
    }

    #[test]
    fn a_health_check_slower_than_the_service_is_corrected() {
        let millis = Duration::from_millis;
        let live = LiveComparison {
            fastest: Some(millis(8)),
            ..LiveComparison::default()
        };
        assert_eq!(live.corrected(millis(800)), millis(8));
        assert_eq!(live.corrected(millis(15)), millis(15));
    }

    #[test]
    fn an_application_that_is_as_slow_everywhere_adds_nothing() {
        let live = [(0, 0, 205, "/"), (0, 1, 240, "/"), (0, 2, 320, "/")];
        assert_eq!(millis(&live, &[5, 40, 120]), [0, 0, 0]);
    }

    #[test]
    fn a_region_whose_requests_are_slower_than_its_probes_promise_stands_back() {
        let live = [(0, 0, 290, "/"), (0, 1, 240, "/")];
        assert_eq!(millis(&live, &[5, 40]), [85, 0]);
    }

    #[test]
    fn heavy_paths_in_one_region_are_not_compared_with_light_ones_in_another() {
        let live = [(0, 0, 206, "/film/9"), (0, 1, 41, "/text/4")];
        assert_eq!(millis(&live, &[5, 40]), [0, 0]);
    }

    #[test]
    fn without_a_sibling_to_compare_with_probes_decide_alone() {
        let live = [(0, 0, 900, "/"), (1, 1, 40, "/")];
        assert_eq!(millis(&live, &[5, 40]), [0, 0]);
    }

    #[test]
    fn one_slow_route_moves_no_other() {
        let live = [
            (0, 0, 500, "/"),
            (0, 1, 40, "/"),
            (1, 0, 5, "/"),
            (1, 1, 40, "/"),
        ];
        assert_eq!(millis(&live, &[5, 40]), [0, 0]);
    }
}
