//! A route: which requests it takes, which regions they may use, and how to choose.

use std::sync::Arc;

use crate::model::country::Country;
use crate::model::id::{RegionId, RegionSet};
use crate::model::viewer::UnknownViewer;
use crate::table::policy::{Policy, Preference, RetryPolicy, UpstreamTimeouts};
use crate::table::residency::{PermittedSet, Residency};
use crate::table::written::Written;

/// Host and path match, the regions it may use, and a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The operator's name for it; unique.
    pub name: Arc<str>,
    /// Which hosts it takes.
    pub host: HostPattern,
    /// Which paths it takes: those that begin so. Always starts with `/`.
    pub path: String,
    /// The regions in the order written.
    pub order: Vec<RegionId>,
    /// The same regions as a set.
    pub regions: RegionSet,
    /// How to rank what is left after the filters.
    pub policy: Policy,
    /// Regions to try first, by country, the most specific group first.
    pub prefer: Vec<Preference>,
    /// The only regions allowed, by country.
    pub residency: Vec<Residency>,
    /// How far to go for an answer.
    pub retry: RetryPolicy,
    /// Time limits towards the origins.
    pub timeouts: UpstreamTimeouts,
    /// Where the route begins in the file.
    pub written: Written,
    /// Where its policy was written.
    pub policy_written: Written,
}

impl Route {
    /// The regions that may serve a viewer who counts as from `country`, whatever happens; `None`
    /// where `unknown` refuses a viewer from no known country.
    #[must_use]
    pub fn permitted(
        &self,
        country: Option<Country>,
        unknown: UnknownViewer,
    ) -> Option<PermittedSet> {
        PermittedSet::of(self.regions, &self.residency, country, unknown)
    }

    /// The first residency line that keeps a viewer from `country` out of `region`; index into
    /// `residency`.
    #[must_use]
    pub fn forbidden_by(&self, country: Option<Country>, region: RegionId) -> Option<u16> {
        let country = country?;
        let line = self
            .residency
            .iter()
            .position(|line| line.group.contains(country) && !line.regions.contains(region))?;
        u16::try_from(line).ok()
    }

    /// The regions to try first for `country`: the most specific line that names it, and its
    /// index in `prefer`.
    #[must_use]
    pub fn preferred(&self, country: Option<Country>) -> Option<(u16, &Preference)> {
        let country = country?;
        (0..)
            .zip(&self.prefer)
            .find(|(_, line)| line.group.contains(country))
    }
}

/// Which hosts a route takes. Names are lower case, without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This name only.
    Exact(String),
    /// Any name that ends in `.` and this suffix (written `*.suffix`).
    Suffix(String),
    /// Any host, or none.
    Any,
}
