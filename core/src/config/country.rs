//! `[route.prefer]` and `[route.residency]`: regions to try first and the only ones, by country.

use std::collections::{BTreeMap, HashMap};

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::region_names::RegionNames;
use crate::model::country::{Country, CountryGroup};
use crate::model::id::{RegionId, RegionSet};
use crate::model::viewer::UnknownViewer;
use crate::table::policy::Preference;
use crate::table::residency::{PermittedSet, Residency};
use crate::table::route::Route;

/// Lists of regions by country or group of countries.
pub(super) type CountrySection = BTreeMap<String, Field<Vec<Field<String>>>>;

/// One line of such a table.
struct CountryLine<'a> {
    group: CountryGroup,
    name: &'a str,
    key: Span,
    regions: &'a Field<Vec<Field<String>>>,
}

impl CountryLine<'_> {
    /// The regions of the line, in the order written; all must be of `own`, the route's.
    fn regions(&self, own: RegionSet, names: &RegionNames<'_>) -> Vec<RegionId> {
        if self.regions.is_empty_list() {
            let message = format!("`{}` has no region", self.name);
            let help = "name at least one of the route's regions, or take the line out";
            let place = self.regions.place(self.key);
            names.context.error("no-regions", place, message, help);
        }
        let regions = self.regions.items();
        regions
            .filter_map(|(name, span)| names.find_in(own, name, span))
            .collect()
    }
}

/// The lines of `field`, the most specific first; a stable order among the equally specific.
fn lines<'a>(field: &'a Field<CountrySection>, names: &RegionNames<'_>) -> Vec<CountryLine<'a>> {
    let mut lines = Vec::new();
    let mut groups: HashMap<CountryGroup, &str> = HashMap::new();
    for (name, key, regions) in field.entries() {
        let Some(group) = CountryGroup::parse(name) else {
            let message = format!("`{name}` is no country and no group of countries");
            let help = "write a code of two letters such as DE, or a group: \"@eu\", \
                        \"@eea\", \"@europe\", \"@asia\", \"@africa\", \"@north-america\", \
                        \"@south-america\", \"@oceania\", \"@antarctica\"";
            names.context.error("bad-country", key, message, help);
            // The regions are checked all the same: one mistake does not hide another.
            for (region, span) in regions.items() {
                let _ = names.find(region, span);
            }
            continue;
        };
        if let Some(other) = groups.insert(group, name) {
            let message = format!("`{name}` is the same as `{other}`");
            names.context.fault("duplicate-country", key, message);
        }
        lines.push(CountryLine {
            group,
            name,
            key,
            regions,
        });
    }
    lines.sort_by_key(|line| (breadth(line.group), line.group));
    lines
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

/// `[route.prefer]` of a route whose regions are `own`.
pub(super) fn preferences(
    field: &Field<CountrySection>,
    own: RegionSet,
    names: &RegionNames<'_>,
) -> Vec<Preference> {
    let lines = lines(field, names).into_iter();
    lines
        .map(|line| Preference {
            group: line.group,
            regions: line.regions(own, names),
            written: names.context.sources.written(line.key),
        })
        .collect()
}

/// `[route.residency]` of a route whose regions are `own`.
pub(super) fn residencies(
    field: &Field<CountrySection>,
    own: RegionSet,
    names: &RegionNames<'_>,
) -> Vec<Residency> {
    let lines = lines(field, names).into_iter();
    lines
        .map(|line| {
            let regions: RegionSet = line.regions(own, names).into_iter().collect();
            let all_known = line.regions.get().map_or(0, Vec::len) == regions.len();
            if regions.len() == 1 && all_known {
                let message = "only one region may serve these viewers";
                let help = "when it is down they get errors; add a region they may also use";
                names
                    .context
                    .warn("residency-single-region", line.key, message, help);
            }
            Residency {
                group: line.group,
                regions,
                written: names.context.sources.written(line.key),
            }
        })
        .collect()
}

/// Says so when the lines of a route's residency, written at `span`, leave someone without a
/// region, or hold for nobody whose country is unknown. `unsaid_unknown` is what happens to those
/// when the file does not say it.
pub(super) fn residency_makes_sense(
    span: Span,
    route: &Route,
    unsaid_unknown: Option<UnknownViewer>,
    context: &CheckContext<'_>,
) {
    // Lines that share a region can leave nobody without one; most files stop here.
    let common = route
        .residency
        .iter()
        .fold(route.regions, |common, line| common.and(line.regions));
    let whole = route.residency.iter().all(|line| !line.regions.is_empty());
    if common.is_empty() && whole && !route.regions.is_empty() {
        everyone_has_a_region(span, route, context);
    }
    if unsaid_unknown == Some(UnknownViewer::Any) && !route.residency.is_empty() {
        context.warn(
            "residency-unknown-any",
            span,
            "a viewer whose country is unknown may use any region of this route",
            "write unknown = \"refuse\" or a country code under [viewer]; \"any\" if it is meant",
        );
    }
}

fn everyone_has_a_region(span: Span, route: &Route, context: &CheckContext<'_>) {
    let mut left_out = Country::all().filter(|country| {
        let permitted = route.permitted(Some(*country), UnknownViewer::Any);
        permitted.is_none_or(PermittedSet::is_empty)
    });
    let shown: Vec<_> = left_out.by_ref().take(8).map(|c| c.to_string()).collect();
    if shown.is_empty() {
        return;
    }
    let more = left_out.next().map_or("", |_| ", ..");
    let message = format!(
        "these lines together leave no region for {}{more}",
        shown.join(", ")
    );
    let help = "every line that names a country holds: give them a region in common";
    context.error("residency-conflict", span, message, help);
}
