//! What happens when, by a seed.

use std::time::Duration;

use fastrand::Rng;
use meridian::demo::default_regions;
use meridian::demo::fault::Fault;

/// Stands for every region.
pub(crate) const ALL: &str = "all";
/// Faults that all regions have at once, now and then.
const EVERYWHERE: [&str; 5] = ["fail", "hang", "unavailable", "reset", "blackhole"];
/// Ordinary days that are a region's, and those that are traffic.
const ORDINARY: [&str; 2] = ["pause", "deploy"];
const TRAFFIC: [&str; 2] = ["crawl", "batch"];
/// How long an episode lasts, in seconds: long enough to be noticed, short enough that the next
/// one often finds a region on its way back.
const LENGTHS: std::ops::RangeInclusive<u64> = 4..=12;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    /// The word of the demo, or nothing.
    pub(crate) word: &'static str,
    /// The region it is about; none where it is traffic.
    pub(crate) region: Option<String>,
    pub(crate) length: Duration,
}

impl Episode {
    /// Whether no region is well.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.region.as_deref() == Some(ALL)
    }
}

/// A fault, an ordinary day, a fault, ... Every fault of every region comes once before one comes
/// again.
#[derive(Debug)]
pub(crate) struct Episodes {
    rng: Rng,
    left: Duration,
    faults: Vec<(&'static str, String)>,
    ordinary: Vec<(&'static str, Option<String>)>,
    is_fault_next: bool,
}

impl Episodes {
    /// So much of them.
    pub(crate) fn new(seed: u64, length: Duration) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            left: length,
            faults: Vec::new(),
            ordinary: Vec::new(),
            is_fault_next: true,
        }
    }

    fn fault(&mut self) -> (&'static str, Option<String>) {
        if self.faults.is_empty() {
            let words = Fault::WORDS.map(|known| known.word).into_iter();
            let words: Vec<_> = words
                .filter(|word| *word != "heal" && !ORDINARY.contains(word))
                .collect();
            self.faults = of_each_region(&words);
            let everywhere = EVERYWHERE.map(|word| (word, ALL.to_owned()));
            self.faults.extend(everywhere);
            self.rng.shuffle(&mut self.faults);
        }
        let (word, region) = self.faults.pop().unwrap_or_default();
        (word, Some(region))
    }

    fn ordinary(&mut self) -> (&'static str, Option<String>) {
        if self.ordinary.is_empty() {
            let regions = of_each_region(&ORDINARY).into_iter();
            self.ordinary = regions.map(|(word, region)| (word, Some(region))).collect();
            // As often as one of a region; and days on which nothing happens at all.
            let others = TRAFFIC.into_iter().chain(["nothing"]);
            let others = others.flat_map(|word| [(word, None), (word, None), (word, None)]);
            self.ordinary.extend(others);
            self.rng.shuffle(&mut self.ordinary);
        }
        self.ordinary.pop().unwrap_or_default()
    }
}

fn of_each_region(words: &[&'static str]) -> Vec<(&'static str, String)> {
    let regions = default_regions().into_iter();
    regions
        .flat_map(|region| words.iter().map(move |word| (*word, region.name.clone())))
        .collect()
}

impl Iterator for Episodes {
    type Item = Episode;

    fn next(&mut self) -> Option<Episode> {
        if self.left.is_zero() {
            return None;
        }
        let (word, region) = match self.is_fault_next {
            true => self.fault(),
            false => self.ordinary(),
        };
        self.is_fault_next = !self.is_fault_next;
        let length = Duration::from_secs(self.rng.u64(LENGTHS)).min(self.left);
        self.left -= length;
        Some(Episode {
            word,
            region,
            length,
        })
    }
}
