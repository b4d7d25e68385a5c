//! Which countries the viewers are from.

mod shares;

use crate::cli::bench::mix::shares::{EU, WORLD};
use meridian_core::model::country::Country;

/// The mixes that have a name.
const NAMED: [(&str, &[(&str, u32)]); 2] = [("world", WORLD), ("eu", EU)];

/// Countries by weight. The viewer of each request is a function of the seed and the request's
/// number, so that a run can be repeated whatever the number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CountryMix {
    countries: Vec<Country>,
    /// The sum of the weights so far, for each country.
    bounds: Vec<u64>,
}

impl CountryMix {
    /// Reads a name, or countries with or without weights: `world`, `DE=30,JP=20,US=50`, `DE`.
    ///
    /// # Errors
    /// When it is none, with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, shares)) = NAMED.iter().find(|(name, _)| *name == text) {
            let shares = shares.iter().map(|(code, weight)| (*code, *weight));
            return Self::new(shares);
        }
        let shares = text.split(',').map(|share| {
            let (code, weight) = share.split_once('=').unwrap_or((share, "1"));
            let weight = weight.trim().parse::<u32>().ok().filter(|it| *it > 0);
            let weight = weight.ok_or_else(|| {
                format!("{share:?} has no weight such as 30; weights are whole numbers above 0")
            })?;
            Ok((code.trim(), weight))
        });
        Self::new(shares.collect::<Result<Vec<_>, String>>()?)
    }

    fn new<'a>(shares: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, String> {
        let mut mix = Self {
            countries: Vec::new(),
            bounds: Vec::new(),
        };
        let mut sum = 0;
        for (code, weight) in shares {
            let country = Country::parse(code.as_bytes()).ok_or_else(|| no_country(code))?;
            if mix.countries.contains(&country) {
                return Err(format!("{country} is in it twice; add the weights up"));
            }
            sum += u64::from(weight);
            mix.countries.push(country);
            mix.bounds.push(sum);
        }
        Ok(mix)
    }

    /// The countries, as they were written.
    pub(super) fn countries(&self) -> &[Country] {
        &self.countries
    }

    /// The position among [`Self::countries`] of a request's viewer.
    pub(super) fn pick(&self, seed: u64, number: u64) -> usize {
        let sum = self.bounds.last().copied().unwrap_or(1);
        let spread = u128::from(scatter(seed, number)) * u128::from(sum);
        let point = u64::try_from(spread >> 64).unwrap_or(0);
        self.bounds.partition_point(|bound| *bound <= point)
    }
}

fn no_country(code: &str) -> String {
    let names = NAMED.map(|(name, _)| name).join(" or ");
    format!("{code:?} is no country code; write {names}, or DE=30,JP=20,US=50")
}

/// SplitMix64 at a place of its sequence: evenly spread, and the same everywhere.
fn scatter(seed: u64, number: u64) -> u64 {
    let step = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bits = seed.wrapping_add(step);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::model::country::CountryGroup;

    fn shares(mix: &CountryMix, seed: u64, requests: u64) -> Vec<f64> {
        let mut counts = vec![0.0; mix.countries().len()];
        for number in 0..requests {
            counts[mix.pick(seed, number)] += 1.0;
        }
        counts.iter().map(|count| count / requests as f64).collect()
    }

    #[test]
    fn countries_get_their_share_whatever_the_seed() {
        let mix = CountryMix::parse("DE=30,JP=20,US=50").unwrap();
        for seed in [0, 1, u64::MAX] {
            let shares = shares(&mix, seed, 100_000);
            for (share, wanted) in shares.iter().zip([0.3, 0.2, 0.5]) {
                assert!((share - wanted).abs() < 0.005, "seed {seed}: {shares:?}");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_viewers_and_another_gives_others() {
        let mix = CountryMix::parse("world").unwrap();
        let viewers = |seed| -> Vec<usize> { (0..100).map(|n| mix.pick(seed, n)).collect() };
        assert_eq!(viewers(7), viewers(7));
        assert_ne!(viewers(7), viewers(8));
    }

    #[test]
    fn weights_may_be_left_out() {
        let mix = CountryMix::parse("de, jp").unwrap();
        assert_eq!(mix, CountryMix::parse("DE=5,JP=5").unwrap().of_one_each());
        assert_eq!(CountryMix::parse("FR").unwrap().pick(3, 9), 0);
    }

    impl CountryMix {
        fn of_one_each(mut self) -> Self {
            self.bounds = (1..=self.countries.len() as u64).collect();
            self
        }
    }

    #[test]
    fn named_mixes_are_whole() {
        let eu = CountryMix::parse("eu").unwrap();
        let members = Country::all().filter(|one| CountryGroup::EuropeanUnion.contains(*one));
        let mut countries = eu.countries().to_vec();
        countries.sort();
        assert!(members.eq(countries));
        let world = CountryMix::parse("world").unwrap();
        let shares = shares(&world, 0, 100_000);
        assert!(shares.iter().all(|share| *share > 0.001), "{shares:?}");
    }

    #[test]
    fn a_bad_mix_says_what_to_write() {
        for (text, wanted) in [
            ("wrld", "\"wrld\" is no country code; write world or eu"),
            ("DE=30,EU=1", "\"EU\" is no country code"),
            ("DE=x", "\"DE=x\" has no weight"),
            ("DE=0", "whole numbers above 0"),
            ("DE=1,de=2", "DE is in it twice"),
            ("", "\"\" is no country code"),
        ] {
            let said = CountryMix::parse(text).unwrap_err();
            assert!(said.contains(wanted), "{text:?}: {said}");
        }
    }
}
