//! What a route says per country: regions to prefer, and the only regions allowed.

use std::collections::HashMap;

use crate::config::check::route::World;
use crate::config::fields::{self, Fields, Named};
use crate::config::problem::Span;
use crate::config::tree::Value;
use crate::model::country::{Country, CountryGroup};
use crate::model::id::{RegionId, RegionSet};
use crate::model::viewer::UnknownViewer;
use crate::table::policy::{Preference, Residency};
use crate::table::route::Route;

impl World<'_> {
    /// The lines under `key`: for whom, and the list of regions.
    fn by_country<'f>(&self, fields: &Fields<'f>, key: &str) -> Vec<(CountryGroup, Named<'f>)> {
        let mut lines = Vec::new();
        let mut groups: HashMap<CountryGroup, &str> = HashMap::new();
        for entry in fields.entries(key) {
            let Some(group) = CountryGroup::parse(entry.name) else {
                let message = format!("`{}` is no country and no group of countries", entry.name);
                let help = "write a code of two letters such as DE, or a group: \"@eu\", \
                            \"@eea\", \"@europe\", \"@asia\", \"@africa\", \"@north-america\", \
                            \"@south-america\", \"@oceania\", \"@antarctica\"";
                self.context.error("bad-country", entry.key, message, help);
                // The regions are checked all the same: one mistake does not hide another.
                for region in fields::texts(entry.node, self.context.report) {
                    let _ = self.region(region);
                }
                continue;
            };
            if let Some(other) = groups.insert(group, entry.name) {
                let message = format!("`{}` is the same as `{other}`", entry.name);
                self.context
                    .report
                    .error("duplicate-country", entry.key, message);
            }
            lines.push((group, entry));
        }
        lines
    }

    /// The regions of one line of `prefer` or `residency`, in the order written.
    fn line(&self, entry: &Named<'_>, own: RegionSet) -> Vec<RegionId> {
        let written = fields::texts(entry.node, self.context.report);
        if matches!(&entry.node.value, Value::Array(items) if items.is_empty()) {
            let message = format!("`{}` has no region", entry.name);
            let help = "name at least one of the route's regions, or take the line out";
            self.context
                .error("no-regions", entry.node.span, message, help);
        }
        let regions = written.into_iter();
        regions
            .filter_map(|region| self.own_region(region, own))
            .collect()
    }

    pub(super) fn preferences(&self, fields: &Fields<'_>, own: RegionSet) -> Vec<Preference> {
        let lines = self.by_country(fields, "prefer").into_iter();
        let mut lines: Vec<_> = lines
            .map(|(group, entry)| Preference {
                group,
                regions: self.line(&entry, own),
                written: self.context.sources.written(entry.key),
            })
            .collect();
        // The most specific first; a stable order among the equally specific.
        lines.sort_by_key(|line| (breadth(line.group), line.group));
        lines
    }

    pub(super) fn residencies(&self, fields: &Fields<'_>, own: RegionSet) -> Vec<Residency> {
        let lines = self.by_country(fields, "residency").into_iter();
        let mut lines: Vec<_> = lines
            .map(|(group, entry)| {
                let regions: RegionSet = self.line(&entry, own).into_iter().collect();
                let all_known = fields::count(entry.node) == regions.len();
                if regions.len() == 1 && all_known {
                    let message = "only one region may serve these viewers";
                    let help = "when it is down they get errors; add a region they may also use";
                    self.context
                        .warn("residency-single-region", entry.key, message, help);
                }
                Residency {
                    group,
                    regions,
                    written: self.context.sources.written(entry.key),
                }
            })
            .collect();
        lines.sort_by_key(|line| (breadth(line.group), line.group));
        lines
    }

    pub(super) fn residency_makes_sense(&self, fields: &Fields<'_>, route: &Route) {
        let span = fields.key_span("residency").unwrap_or(fields.span);
        // Lines that share a region can leave nobody without one; most files stop here.
        let common = route
            .residency
            .iter()
            .fold(route.regions, |common, line| common.and(line.regions));
        let whole = route.residency.iter().all(|line| !line.regions.is_empty());
        if common.is_empty() && whole && !route.regions.is_empty() {
            self.everyone_has_a_region(span, route);
        }
        if self.unsaid_unknown == Some(UnknownViewer::Any) && !route.residency.is_empty() {
            self.context.warn(
                "residency-unknown-any",
                span,
                "a viewer whose country is unknown may use any region of this route",
                "write unknown = \"refuse\" or a country code under [viewer]; \"any\" if it is meant",
            );
        }
    }

    fn everyone_has_a_region(&self, span: Span, route: &Route) {
        let left_out: Vec<_> = self
            .countries
            .iter()
            .filter(|country| route.permitted(Some(**country)).is_empty())
            .map(|country| country.to_string())
            .collect();
        if let Some(shown) = left_out
            .get(..left_out.len().min(8))
            .filter(|l| !l.is_empty())
        {
            let more = if left_out.len() > shown.len() {
                ", .."
            } else {
                ""
            };
            let message = format!(
                "these lines together leave no region for {}{more}",
                shown.join(", ")
            );
            let help = "every line that names a country holds: give them a region in common";
            self.context
                .error("residency-conflict", span, message, help);
        }
    }
}

/// How wide a group is: a country, a union of countries, a continent.
fn breadth(group: CountryGroup) -> u8 {
    match group {
        CountryGroup::One(_) => 0,
        CountryGroup::EuropeanUnion => 1,
        CountryGroup::EuropeanEconomicArea => 2,
        CountryGroup::All(_) => 3,
    }
}

/// Every country there is.
pub(super) fn all_countries() -> Vec<Country> {
    let letters = b'A'..=b'Z';
    let codes = letters.flat_map(|first| (b'A'..=b'Z').map(move |second| [first, second]));
    codes.filter_map(|code| Country::parse(&code)).collect()
}
