//! The order of regions by latency, which changes slowly on purpose: the switch margin.

use std::time::Duration;

use crate::model::id::RegionId;
use crate::model::time::Timestamp;

/// A region must be better by this much to move before another: below it no person notices the
/// difference, and the noise of one network path alone is as large.
pub const MARGIN: Duration = Duration::from_millis(10);

/// It must also be better by this many percent: between far regions 10 ms is noise.
pub const MARGIN_PERCENT: u32 = 15;

/// For how long without a break: six default probe intervals, so that no single burst decides.
pub const HOLD: Duration = Duration::from_secs(30);

/// Where a region takes less than half of another's time, and this much less, no noise explains it.
const FAR_MARGIN: Duration = Duration::from_millis(20);

/// It moves ahead after so long: a spell of a few seconds still moves nobody.
pub const FAR_HOLD: Duration = Duration::from_secs(5);

/// Regions, lowest latency first, and since when which of them is clearly better than which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatencyOrder {
    places: Vec<Placed>,
    /// Pairs in order of their numbers, so that one is found by halving. Of two regions only one can be better, so there are
    /// fewer than half the square of the regions.
    better: Vec<Better>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    region: RegionId,
    /// Its latency when it was last looked at.
    latency: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Better {
    region: RegionId,
    than: RegionId,
    since: Timestamp,
    /// Since when it has taken less than half of the other's time.
    far_since: Option<Timestamp>,
}

impl LatencyOrder {
    /// The regions, best first; those without a latency last, by number.
    pub fn regions(&self) -> impl Iterator<Item = RegionId> {
        self.places.iter().map(|placed| placed.region)
    }

    /// An order that was kept from before a restart, best first. Latencies come with the next
    /// look; a region without one loses its place.
    #[must_use]
    pub fn restored(regions: impl IntoIterator<Item = RegionId>) -> Self {
        let mut places: Vec<Placed> = Vec::new();
        for region in regions {
            if places.iter().all(|placed| placed.region != region) {
                let latency = Some(Duration::ZERO);
                places.push(Placed { region, latency });
            }
        }
        Self {
            places,
            better: Vec::new(),
        }
    }

    /// The order after a look at all latencies, indexed by region.
    ///
    /// A region measured for the first time (or again) takes its place at once, one that is no
    /// longer known goes last; among known ones a region moves before another only after being
    /// better by the margin for [`HOLD`].
    pub fn update(&mut self, latencies: &[Option<Duration>], now: Timestamp) {
        self.place(latencies);
        self.compare(latencies, now);
        self.switch(now);
    }

    /// The same order after a reload: `renumbered` gives each old region's new number, or
    /// `None` for one that is gone. New numbers rise as old ones do: both follow the names.
    #[must_use]
    pub fn renumbered(&self, renumbered: impl Fn(RegionId) -> Option<RegionId>) -> Self {
        let places = self.places.iter().filter_map(|placed| {
            let region = renumbered(placed.region)?;
            Some(Placed { region, ..*placed })
        });
        let better = self.better.iter().filter_map(|pair| {
            Some(Better {
                region: renumbered(pair.region)?,
                than: renumbered(pair.than)?,
                ..*pair
            })
        });
        Self {
            places: places.collect(),
            better: better.collect(),
        }
    }

    /// Puts new arrivals where they belong and the unknown last.
    fn place(&mut self, latencies: &[Option<Duration>]) {
        let latency_of = |region: RegionId| latencies.get(region.index()).copied().flatten();
        let mut known: Vec<Placed> = Vec::with_capacity(latencies.len());
        known.extend(self.places.iter().filter_map(|placed| {
            // One that was unknown before is placed anew below.
            placed.latency?;
            let latency = Some(latency_of(placed.region)?);
            Some(Placed { latency, ..*placed })
        }));
        let absent = |known: &[Placed], region| known.iter().all(|placed| placed.region != region);
        for region in (0..latencies.len()).map(RegionId::at) {
            if let Some(latency) = latency_of(region)
                && absent(&known, region)
            {
                let slower =
                    |placed: &Placed| (placed.latency, placed.region) > (Some(latency), region);
                let position = known.iter().position(slower).unwrap_or(known.len());
                known.insert(
                    position,
                    Placed {
                        region,
                        latency: Some(latency),
                    },
                );
            }
        }
        for region in (0..latencies.len()).map(RegionId::at) {
            if latency_of(region).is_none() {
                known.push(Placed {
                    region,
                    latency: None,
                });
            }
        }
        self.places = known;
    }

    /// Notes which regions are clearly better than which, keeping since when.
    fn compare(&mut self, latencies: &[Option<Duration>], now: Timestamp) {
        let before = std::mem::take(&mut self.better);
        let known = |index: usize| latencies[index].map(|latency| (RegionId::at(index), latency));
        for (region, latency) in (0..latencies.len()).filter_map(known) {
            for (than, other) in (0..latencies.len()).filter_map(known) {
                if clearly_better(latency, other) {
                    let known = before
                        .binary_search_by_key(&(region, than), |pair| (pair.region, pair.than))
                        .map(|place| before[place]);
                    let far_since = known.ok().and_then(|pair| pair.far_since).unwrap_or(now);
                    self.better.push(Better {
                        region,
                        than,
                        since: known.map_or(now, |pair| pair.since),
                        far_since: far_better(latency, other).then_some(far_since),
                    });
                }
            }
        }
    }

    /// Moves regions that were better for long enough.
    ///
    /// Each move turns only pairs that stand the wrong way round, so there are fewer moves than
    /// pairs.
    fn switch(&mut self, now: Timestamp) {
        while let Some((ahead, behind)) = self.overdue(now) {
            let challenger = self.places[behind];
            // Those in between that are faster than the challenger come along: none may fall
            // behind a slower one because of a move it had no part in.
            let (mut first, rest): (Vec<_>, Vec<_>) = self.places[ahead..behind]
                .iter()
                .partition(|placed| placed.latency < challenger.latency);
            first.push(challenger);
            first.extend(rest);
            self.places[ahead..=behind].copy_from_slice(&first);
        }
    }

    /// The first place whose holder must let one behind it pass, and that one's place.
    fn overdue(&self, now: Timestamp) -> Option<(usize, usize)> {
        let place_of = |region| {
            self.places
                .iter()
                .position(|placed| placed.region == region)
        };
        self.better
            .iter()
            .filter(|pair| {
                let is_far = |since: Timestamp| now.since(since) >= FAR_HOLD;
                now.since(pair.since) >= HOLD || pair.far_since.is_some_and(is_far)
            })
            .filter_map(|pair| Some((place_of(pair.than)?, place_of(pair.region)?)))
            .filter(|(ahead, behind)| ahead < behind)
            .min()
    }
}

/// Whether `latency` beats `other` by the whole margin.
fn clearly_better(latency: Duration, other: Duration) -> bool {
    let margin = MARGIN.max(other * MARGIN_PERCENT / 100);
    latency + margin < other
}

/// Whether `latency` is less than half of `other`, whatever the noise.
fn far_better(latency: Duration, other: Duration) -> bool {
    latency * 2 <= other && latency + FAR_MARGIN <= other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn millis(latencies: &[u64]) -> Vec<Option<Duration>> {
        let latency = |millis: &u64| (*millis > 0).then(|| Duration::from_millis(*millis));
        latencies.iter().map(latency).collect()
    }

    /// The order after each look; 0 stands for an unmeasured region.
    fn order_after(looks: &[(u64, &[u64])]) -> Vec<u8> {
        let mut order = LatencyOrder::default();
        for (second, latencies) in looks {
            order.update(&millis(latencies), at(*second));
        }
        numbers(&order)
    }

    fn numbers(order: &LatencyOrder) -> Vec<u8> {
        order.regions().map(|region| region.0).collect()
    }

    #[test]
    fn first_measurements_order_at_once_and_the_unmeasured_come_last() {
        assert_eq!(order_after(&[(0, &[0, 0, 0])]), [0, 1, 2]);
        assert_eq!(order_after(&[(0, &[0, 90, 40])]), [2, 1, 0]);
        assert_eq!(
            order_after(&[(0, &[0, 90, 40]), (1, &[50, 90, 40])]),
            [2, 0, 1]
        );
    }

    #[test]
    fn what_takes_less_than_half_moves_ahead_soon_and_not_in_a_spell() {
        let become_far = [(0, &[8, 26][..]), (1, &[60, 26]), (5, &[60, 26])];
        assert_eq!(order_after(&become_far), [0, 1]);
        let stays = [become_far.as_slice(), &[(6, &[60, 26])]].concat();
        assert_eq!(order_after(&stays), [1, 0]);
        let spell = [become_far.as_slice(), &[(6, &[8, 26])]].concat();
        assert_eq!(order_after(&spell), [0, 1]);
    }

    #[test]
    fn a_better_region_moves_ahead_only_after_the_hold() {
        assert_eq!(
            order_after(&[(0, &[40, 60]), (1, &[60, 40]), (30, &[60, 40])]),
            [0, 1]
        );
        assert_eq!(
            order_after(&[(0, &[40, 60]), (1, &[60, 40]), (31, &[60, 40])]),
            [1, 0]
        );
    }

    #[test]
    fn a_break_in_being_better_starts_the_hold_anew() {
        let looks: &[(u64, &[u64])] = &[
            (0, &[40, 60]),
            (1, &[60, 40]),
            (20, &[45, 40]),
            (21, &[60, 40]),
            (40, &[60, 40]),
        ];
        assert_eq!(order_after(looks), [0, 1]);
    }

    #[test]
    fn less_than_the_margin_never_switches() {
        assert_eq!(
            order_after(&[(0, &[20, 30]), (1, &[20, 11]), (999, &[20, 11])]),
            [0, 1]
        );
        assert_eq!(
            order_after(&[(0, &[200, 300]), (1, &[200, 175]), (999, &[200, 175])]),
            [0, 1]
        );
    }

    #[test]
    fn a_region_no_longer_known_goes_last_and_returns_at_once() {
        assert_eq!(order_after(&[(0, &[10, 50]), (70, &[0, 50])]), [1, 0]);
        assert_eq!(
            order_after(&[(0, &[10, 50]), (70, &[0, 50]), (71, &[10, 50])]),
            [0, 1]
        );
    }

    #[test]
    fn equal_regions_order_by_number_which_is_by_name() {
        assert_eq!(
            order_after(&[(0, &[0, 25, 25]), (1, &[25, 25, 25])]),
            [0, 1, 2]
        );
    }

    #[test]
    fn a_faster_bystander_is_not_left_behind_by_a_move() {
        // The third passes the first; the second is faster than both and must stay ahead of
        // the third though its own hold is not over.
        let looks: &[(u64, &[u64])] = &[
            (0, &[100, 110, 120]),
            (1, &[100, 110, 80]),
            (20, &[100, 75, 80]),
            (31, &[100, 75, 80]),
        ];
        assert_eq!(order_after(looks), [1, 2, 0]);
    }

    #[test]
    fn renumbering_keeps_order_and_holds() {
        let mut order = LatencyOrder::default();
        order.update(&millis(&[40, 60]), at(0));
        order.update(&millis(&[60, 40]), at(1));
        let swap = |region: RegionId| Some(RegionId(region.0 + 1));
        let mut order = order.renumbered(swap);
        order.update(&millis(&[0, 60, 40]), at(30));
        assert_eq!(numbers(&order), [1, 2, 0]);
        order.update(&millis(&[0, 60, 40]), at(31));
        assert_eq!(numbers(&order), [2, 1, 0]);
    }
}
