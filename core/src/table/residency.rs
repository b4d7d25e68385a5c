//! Residency: which regions may serve a viewer at all. The one filter that no other may undo.

use crate::model::country::{Country, CountryGroup};
use crate::model::id::{RegionId, RegionSet};
use crate::model::viewer::UnknownViewer;
use crate::table::written::Written;

/// The only regions that may serve some countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residency {
    /// For whom.
    pub group: CountryGroup,
    /// Which.
    pub regions: RegionSet,
    /// Where it was written.
    pub written: Written,
}

/// The regions that residency allows for one viewer on one route: nothing leaves for any other.
///
/// Made by [`Route::permitted`](crate::table::route::Route::permitted) only, and can only shrink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermittedSet(RegionSet);

impl PermittedSet {
    /// Those of `regions` that may serve a viewer from `country`: every line that names the
    /// country holds at once. None at all, where `unknown` refuses who is from no known country.
    pub(super) fn of(
        regions: RegionSet,
        lines: &[Residency],
        country: Option<Country>,
        unknown: UnknownViewer,
    ) -> Option<Self> {
        let Some(country) = country else {
            let refused = unknown == UnknownViewer::Refuse && !lines.is_empty();
            return (!refused).then_some(Self(regions));
        };
        let lines = lines.iter().filter(|line| line.group.contains(country));
        Some(Self(lines.fold(regions, |permitted, line| {
            permitted.and(line.regions)
        })))
    }

    /// The regions, as a set that permits nothing.
    #[must_use]
    pub fn regions(self) -> RegionSet {
        self.0
    }

    /// Whether `region` is permitted.
    #[must_use]
    pub fn contains(self, region: RegionId) -> bool {
        self.0.contains(region)
    }

    /// Whether no region is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// What is left of it without `regions`.
    #[must_use]
    pub fn without(self, regions: RegionSet) -> Self {
        Self(self.0.without(regions))
    }

    /// Keeps those of which `keep` is true.
    pub fn retain(&mut self, keep: impl FnMut(&RegionId) -> bool) {
        self.0 = self.0.iter().filter(keep).collect();
    }

    /// Takes `region` out; says whether it was there.
    pub fn take(&mut self, region: RegionId) -> bool {
        let permitted = self.0.contains(region);
        self.0.remove(region);
        permitted
    }
}
