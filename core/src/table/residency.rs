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

/// A region that residency allows for the request at hand.
///
/// Whatever leaves for a region takes one of these, be it first choice, retry, hedge, the rest of a
/// body, probation or last resort; a [`RegionId`] is but a name. Only [`PermittedSet::get`] makes it:
///
/// ```compile_fail,E0423
/// use meridian_core::model::id::RegionId;
/// use meridian_core::table::residency::PermittedRegion;
///
/// let anywhere = PermittedRegion(RegionId(0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermittedRegion(RegionId);

impl PermittedRegion {
    /// Its name, which permits nothing.
    #[must_use]
    pub fn id(self) -> RegionId {
        self.0
    }
}

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

    /// `region`, if it is permitted.
    #[must_use]
    pub fn get(self, region: RegionId) -> Option<PermittedRegion> {
        self.0.contains(region).then_some(PermittedRegion(region))
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
