//! The regions of a file by the names that routes write.

use crate::config::context::CheckContext;
use crate::config::problem::{Span, nearest};
use crate::model::id::{MAX_REGIONS, RegionId, RegionSet};
use crate::table::origin::Region;

/// The regions that routes may name, sorted by name.
#[derive(Clone, Copy)]
pub(super) struct RegionNames<'a> {
    pub(super) regions: &'a [Region],
    pub(super) context: &'a CheckContext<'a>,
}

impl RegionNames<'_> {
    /// The region called so, or a problem. Regions beyond the limit are none; that is said once.
    pub(super) fn find(&self, name: &str, span: Span) -> Option<RegionId> {
        let found = self
            .regions
            .binary_search_by(|region| region.name.as_ref().cmp(name));
        if let Ok(position) = found {
            return (position < MAX_REGIONS).then(|| RegionId::at(position));
        }
        let names = self.regions.iter().map(|region| region.name.as_ref());
        let help = nearest(name, names)
            .map_or_else(|| self.list(), |name| format!("did you mean `{name}`?"));
        let message = format!("region `{name}` is not defined");
        self.context.error("unknown-region", span, message, &help);
        None
    }

    /// The region called so, which must be one of `own`, the route's.
    pub(super) fn find_in(&self, own: RegionSet, name: &str, span: Span) -> Option<RegionId> {
        let region = self.find(name, span)?;
        if own.contains(region) {
            return Some(region);
        }
        let message = format!("region `{name}` is not among the route's `regions`");
        let help = "add it there, or take it out here";
        self.context
            .error("region-not-in-route", span, message, help);
        None
    }

    /// All of them, for a line of help.
    pub(super) fn list(&self) -> String {
        let names: Vec<_> = self.regions.iter().map(|region| &*region.name).collect();
        format!("defined regions: {}", names.join(", "))
    }
}
