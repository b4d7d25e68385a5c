//! Small numbers that stand for named things of one routing table.

use std::fmt;

/// How many regions one table may name: a [`RegionSet`] is one machine word.
pub const MAX_REGIONS: usize = 64;

/// A region of one routing table: its position among the regions sorted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u8);

impl RegionId {
    /// The position as an index into per-region vectors.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The region at `index`, which must be below [`MAX_REGIONS`].
    #[must_use]
    pub fn at(index: usize) -> Self {
        debug_assert!(index < MAX_REGIONS, "region index {index} is out of range");
        Self((index % MAX_REGIONS) as u8)
    }
}

/// A route of one routing table: its position in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u32);

impl RouteId {
    /// The position as an index into per-route vectors.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One address of an origin that can be dialled, for as long as it is known.
///
/// `slot` is small and reused, so that workers keep pools in a vector; `generation` tells a
/// reused slot from the endpoint that had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId {
    /// Index into per-endpoint vectors.
    pub slot: u32,
    /// Which holder of the slot this is.
    pub generation: u32,
}

impl EndpointId {
    /// The slot as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.slot as usize
    }
}

/// A set of regions of one table, as one word.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RegionSet(u64);

impl RegionSet {
    /// The set without members.
    pub const EMPTY: Self = Self(0);

    /// The first `count` regions.
    #[must_use]
    pub fn first(count: usize) -> Self {
        if count >= MAX_REGIONS {
            Self(u64::MAX)
        } else {
            Self((1 << count) - 1)
        }
    }

    /// Adds `region`.
    pub fn insert(&mut self, region: RegionId) {
        self.0 |= 1 << region.0;
    }

    /// Takes `region` out.
    pub fn remove(&mut self, region: RegionId) {
        self.0 &= !(1 << region.0);
    }

    /// Whether `region` is a member.
    #[must_use]
    pub fn contains(self, region: RegionId) -> bool {
        self.0 & (1 << region.0) != 0
    }

    /// The regions in both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The regions in either set.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The regions of this set that are not in `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many members there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The members in order of their numbers, that is of their names.
    pub fn iter(self) -> impl Iterator<Item = RegionId> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let region = RegionId(rest.trailing_zeros() as u8);
            rest &= rest - 1;
            Some(region)
        })
    }
}

impl FromIterator<RegionId> for RegionSet {
    fn from_iter<I: IntoIterator<Item = RegionId>>(regions: I) -> Self {
        let mut set = Self::EMPTY;
        for region in regions {
            set.insert(region);
        }
        set
    }
}

impl fmt::Debug for RegionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_members_in_order() {
        let set: RegionSet = [RegionId(63), RegionId(0), RegionId(7)]
            .into_iter()
            .collect();
        assert_eq!(set.iter().map(|r| r.0).collect::<Vec<_>>(), [0, 7, 63]);
        assert_eq!(set.len(), 3);
        assert!(set.without(RegionSet::first(64)).is_empty());
    }
}
