//! Countries, continents and the groups of countries a route may name.

mod atlas;
mod continent;

pub use crate::model::country::continent::Continent;

use std::fmt;

use crate::model::country::atlas::{COUNTRIES, EUROPEAN_ECONOMIC_AREA_ONLY, EUROPEAN_UNION, Entry};
use crate::model::place::Place;

/// An ISO 3166-1 alpha-2 country code, upper case, of a country that exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// How many values [`Country::index`] can take.
pub const COUNTRY_INDEXES: usize = 26 * 26;

/// What stands in [`POSITIONS`] for a code of no country.
const NO_COUNTRY: u8 = u8::MAX;

/// [`Country::index`] to the position in the atlas; computed by the compiler, so that parsing
/// and group membership are one look-up each.
const POSITIONS: [u8; COUNTRY_INDEXES] = {
    assert!(COUNTRIES.len() < NO_COUNTRY as usize);
    let mut positions = [NO_COUNTRY; COUNTRY_INDEXES];
    let mut position = 0;
    while position < COUNTRIES.len() {
        positions[index_of(COUNTRIES[position].0)] = position as u8;
        position += 1;
    }
    positions
};

/// [`Country::index`] to the [`UNION`] and [`AREA`] bits.
const TREATIES: [u8; COUNTRY_INDEXES] = {
    let mut treaties = [0; COUNTRY_INDEXES];
    let mut member = 0;
    while member < EUROPEAN_UNION.len() {
        treaties[index_of(EUROPEAN_UNION[member])] = UNION | AREA;
        member += 1;
    }
    member = 0;
    while member < EUROPEAN_ECONOMIC_AREA_ONLY.len() {
        treaties[index_of(EUROPEAN_ECONOMIC_AREA_ONLY[member])] = AREA;
        member += 1;
    }
    treaties
};

/// Member of the European Union.
const UNION: u8 = 1;
/// Member of the European Economic Area.
const AREA: u8 = 2;

const fn index_of(code: &[u8; 2]) -> usize {
    (code[0] - b'A') as usize * 26 + (code[1] - b'A') as usize
}

impl Country {
    /// The country a code names, in any case; `None` for codes of no country (`XX` unknown, `T1`
    /// Tor, `AP` Asia-Pacific, `EU`) and for rubbish.
    #[must_use]
    pub fn parse(code: &[u8]) -> Option<Self> {
        let [first, second] = *code else { return None };
        let code = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
        let letters = code.iter().all(u8::is_ascii_uppercase);
        (letters && POSITIONS[index_of(&code)] != NO_COUNTRY).then_some(Self(code))
    }

    /// Every country, in order of the codes.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        COUNTRIES.iter().map(|(code, ..)| Self(**code))
    }

    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX")
    }

    /// A small number for per-country vectors, below [`COUNTRY_INDEXES`].
    #[must_use]
    pub fn index(self) -> usize {
        index_of(&self.0)
    }

    /// The position among [`Country::all`], for vectors without gaps.
    #[must_use]
    pub fn position(self) -> usize {
        usize::from(POSITIONS[self.index()])
    }

    /// The continent it is on, as GeoIP databases have it: Russia's is Europe, Turkey's is Asia.
    #[must_use]
    pub fn continent(self) -> Continent {
        self.entry().1
    }

    /// About the middle of where its people live.
    #[must_use]
    pub fn place(self) -> Option<Place> {
        let (_, _, latitude, longitude) = *self.entry();
        Place::at(latitude, longitude)
    }

    fn entry(self) -> &'static Entry {
        &COUNTRIES[self.position()]
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One country, or a group of them, as a route's `prefer` and `residency` name it.
///
/// The order is from the most specific to the least: a country before the Union, the Union
/// before the Economic Area around it, and that before a continent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountryGroup {
    /// `DE`
    One(Country),
    /// `@eu`: the members of the European Union.
    EuropeanUnion,
    /// `@eea`: those, Iceland, Liechtenstein and Norway.
    EuropeanEconomicArea,
    /// `@europe`, `@asia`, ...
    All(Continent),
}

impl CountryGroup {
    /// The groups that are not one country, the most specific first.
    pub const NAMED: [Self; 9] = [
        Self::EuropeanUnion,
        Self::EuropeanEconomicArea,
        Self::All(Continent::Africa),
        Self::All(Continent::Antarctica),
        Self::All(Continent::Asia),
        Self::All(Continent::Europe),
        Self::All(Continent::NorthAmerica),
        Self::All(Continent::Oceania),
        Self::All(Continent::SouthAmerica),
    ];

    /// The group a key of the file names: a country code, or `@` and a name, in any case.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        if !key.starts_with('@') {
            return Country::parse(key.as_bytes()).map(Self::One);
        }
        Self::NAMED
            .into_iter()
            .find(|group| key.eq_ignore_ascii_case(group.label()))
    }

    /// The key as it would be written: `DE`, `@eu`.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::One(country) => country.as_str(),
            Self::EuropeanUnion => "@eu",
            Self::EuropeanEconomicArea => "@eea",
            Self::All(Continent::Africa) => "@africa",
            Self::All(Continent::Antarctica) => "@antarctica",
            Self::All(Continent::Asia) => "@asia",
            Self::All(Continent::Europe) => "@europe",
            Self::All(Continent::NorthAmerica) => "@north-america",
            Self::All(Continent::Oceania) => "@oceania",
            Self::All(Continent::SouthAmerica) => "@south-america",
        }
    }

    /// Whether `country` belongs to the group.
    #[must_use]
    pub fn contains(self, country: Country) -> bool {
        match self {
            Self::One(one) => one == country,
            Self::EuropeanUnion => TREATIES[country.index()] & UNION != 0,
            Self::EuropeanEconomicArea => TREATIES[country.index()] & AREA != 0,
            Self::All(continent) => country.continent() == continent,
        }
    }
}

impl fmt::Display for CountryGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(code: &str) -> Country {
        Country::parse(code.as_bytes()).expect("a country")
    }

    #[test]
    fn every_country_is_found_by_its_code_in_any_case() {
        for (position, one) in Country::all().enumerate() {
            assert_eq!(Country::parse(one.as_str().as_bytes()), Some(one));
            let lower = one.as_str().to_ascii_lowercase();
            assert_eq!(Country::parse(lower.as_bytes()), Some(one));
            assert_eq!(one.position(), position);
            assert!(one.place().is_some(), "{one} is off the globe");
        }
        assert_eq!(Country::all().len(), 250);
    }

    #[test]
    fn codes_of_no_country_and_rubbish_are_refused() {
        for code in [
            "XX", "T1", "AP", "EU", "A1", "A2", "ZZ", "", "D", "DEU", "d\u{e9}", "@@", "  ",
        ] {
            assert_eq!(Country::parse(code.as_bytes()), None, "{code:?}");
        }
        assert_eq!(Country::parse(&[0xff, 0x00]), None);
    }

    #[test]
    fn every_group_is_found_by_its_label() {
        for group in CountryGroup::NAMED {
            assert_eq!(CountryGroup::parse(group.label()), Some(group));
        }
        assert_eq!(
            CountryGroup::parse("de"),
            Some(CountryGroup::One(country("DE")))
        );
        assert_eq!(CountryGroup::parse("@"), None);
        assert_eq!(CountryGroup::parse("@atlantis"), None);
        assert_eq!(CountryGroup::parse("eu"), None);
    }

    #[test]
    fn membership_follows_the_treaties_and_the_continents() {
        let union = CountryGroup::EuropeanUnion;
        let area = CountryGroup::EuropeanEconomicArea;
        assert_eq!(Country::all().filter(|c| union.contains(*c)).count(), 27);
        assert_eq!(Country::all().filter(|c| area.contains(*c)).count(), 30);
        assert!(!union.contains(country("NO")) && area.contains(country("NO")));
        assert!(!area.contains(country("CH")) && !area.contains(country("GB")));
        assert!(CountryGroup::All(Continent::Asia).contains(country("JP")));
        assert!(CountryGroup::All(Continent::SouthAmerica).contains(country("BR")));
    }

    #[test]
    fn groups_order_from_the_most_specific() {
        let mut groups = CountryGroup::NAMED.to_vec();
        groups.push(CountryGroup::One(country("ZW")));
        groups.sort();
        assert_eq!(groups[0], CountryGroup::One(country("ZW")));
        assert_eq!(groups[1..], CountryGroup::NAMED);
    }

    #[test]
    fn places_are_near_known_cities() {
        for (code, latitude, longitude, within_km) in [
            ("DE", 52.5, 13.4, 400.0),
            ("JP", 35.7, 139.7, 300.0),
            ("BR", -23.6, -46.6, 700.0),
            ("US", 38.6, -90.2, 300.0),
            ("AU", -33.9, 151.2, 400.0),
            ("ZA", -26.2, 28.0, 300.0),
        ] {
            let city = Place::at(latitude, longitude).expect("on the globe");
            let place = country(code).place().expect("has a place");
            assert!(place.distance_km(city) < within_km, "{code}");
        }
    }
}
