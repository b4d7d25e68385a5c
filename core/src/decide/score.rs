//! Scores that depend on the viewer: by distance, and by weight and share, which a number is drawn by.

use crate::model::id::{MAX_REGIONS, RegionId, RegionSet};
use crate::model::place::Place;
use crate::table::RoutingTable;

/// Low bits of a score that carry the region, so that ties end by name.
const REGION_BITS: u32 = MAX_REGIONS as u32 - 1;

/// Keys compared at a time.
const LANES: usize = 8;

/// How far those of `regions` whose place is known are from `place`.
pub(super) fn by_distance(table: &RoutingTable, place: Place, regions: RegionSet) -> Scores {
    let mut scores = Scores::default();
    for region in regions.iter() {
        if let Some(to) = table.region(region).place {
            scores.push(region, (1.0 - place.nearness(to)).max(0.0));
        }
    }
    scores
}

/// The scores of those of `regions` that have a weight, by weighted rendezvous hashing: who has
/// the number `drawn` stays with its region, and when one goes only its own viewers move.
pub(super) fn by_weight(
    table: &RoutingTable,
    weights: &[(RegionId, u32)],
    drawn: u64,
    regions: RegionSet,
) -> Scores {
    let mut scores = Scores::default();
    for (region, weight) in weights {
        if regions.contains(*region) {
            // An exponential variable with the weight as its rate; the least one wins. Division
            // and rounding are exact to the bit on every host (IEEE 754), as the logarithm of a
            // C library is not.
            let exponential = minus_log2(mix(drawn ^ table.seed(*region)));
            scores.push(*region, exponential as f32 / *weight as f32);
        }
    }
    scores
}

/// A number from 0 to 99 that stays the same for a number and a region: who is below a region's
/// share goes there, so that a growing share takes viewers in and moves none out.
pub(super) fn percentile(table: &RoutingTable, region: RegionId, drawn: u64) -> u8 {
    // Another number than the one that weights go by, or a share would fall on the viewers of
    // some regions more than on others.
    let hash = mix(drawn.rotate_left(17) ^ table.seed(region));
    (((hash >> 32) * 100) >> 32) as u8
}

/// Spreads the difference of two inputs over all bits (the finaliser of MurmurHash3).
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    value = (value ^ (value >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ (value >> 33)
}

/// `-log2(value / 2^64)` in units of 2^-32; within 2^-18 of the logarithm, by integers alone.
fn minus_log2(value: u64) -> u64 {
    let value = value | 1;
    let zeros = value.leading_zeros();
    // Without the leading one: the fraction of the significand, from the top.
    let fraction = (value << zeros) << 1;
    let step = (fraction >> 56) as usize;
    let within = (fraction >> 24) & 0xffff_ffff;
    let (low, high) = (LOG2[step], LOG2[step + 1]);
    let log2 = low + (((high - low) * within) >> 32);
    (u64::from(zeros) << 32) + (1 << 32) - log2
}

/// `log2(1 + i / 256)` in units of 2^-32; computed by the compiler.
const LOG2: [u64; 257] = {
    let mut table = [0; 257];
    let mut i = 0;
    while i < 256 {
        table[i] = log2_of(((256 + i as u64) << 24) as u128);
        i += 1;
    }
    table[256] = 1 << 32;
    table
};

/// The logarithm of `mantissa / 2^32`, which is in 1..2, in units of 2^-32: each squaring yields
/// a bit.
const fn log2_of(mut mantissa: u128) -> u64 {
    // More digits than the result has, so that the squarings' rounding does not reach it.
    mantissa <<= 30;
    let mut log2 = 0;
    let mut bit = 1 << 31;
    while bit > 0 {
        mantissa = (mantissa * mantissa) >> 62;
        if mantissa >= 2 << 62 {
            mantissa >>= 1;
            log2 |= bit;
        }
        bit >>= 1;
    }
    log2
}

/// Regions and how far each is from the best; none is negative.
pub(super) struct Scores {
    /// The bits of the score, which for floats that are not negative order as the floats do, and
    /// the region in the lowest, so that no two are equal and near ties end by name.
    keys: [u32; MAX_REGIONS],
    len: usize,
}

impl Default for Scores {
    fn default() -> Self {
        Self {
            keys: [u32::MAX; MAX_REGIONS],
            len: 0,
        }
    }
}

impl Scores {
    fn push(&mut self, region: RegionId, score: f32) {
        if let Some(key) = self.keys.get_mut(self.len) {
            *key = (score.to_bits() & !REGION_BITS) | u32::from(region.0);
            self.len += 1;
        }
    }

    /// Gives them all to `take`, the least score first.
    ///
    /// Each key's place is the number of keys below it. That is more comparisons than a sort
    /// makes, but they have no branches to mispredict and go several at a time.
    pub(super) fn best_first(&self, mut take: impl FnMut(RegionId)) {
        let mut sorted = [RegionId(0); MAX_REGIONS];
        let lanes = self.len.next_multiple_of(LANES).min(MAX_REGIONS);
        let padded = &self.keys[..lanes];
        for key in &self.keys[..self.len] {
            let below: u32 = padded.iter().map(|other| u32::from(other < key)).sum();
            sorted[below as usize % MAX_REGIONS] = RegionId((key & REGION_BITS) as u8);
        }
        for region in &sorted[..self.len] {
            take(*region);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::draw_key::DrawKey;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn the_integer_logarithm_is_the_logarithm() {
        for value in (0..64).flat_map(|shift| [1_u64, 3, 5, 251, u64::MAX].map(|n| n << shift)) {
            let value = value | 1;
            let meant = 64.0 - (value as f64).log2();
            let found = minus_log2(value) as f64 / (1_u64 << 32) as f64;
            assert!((meant - found).abs() < 1e-5, "{value}: {found} for {meant}");
        }
    }

    #[test]
    fn a_viewer_stays_with_its_region_on_every_host() {
        // Pinned: another value would send every viewer elsewhere in a rolling upgrade.
        let viewer = DrawKey::Address.number("203.0.113.7".parse().expect("an address"));
        let seed = xxh3_64(b"eu-west-1");
        assert_eq!(minus_log2(mix(viewer ^ seed)), 819_734_862);
    }
}
