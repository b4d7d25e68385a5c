//! Continents.

/// A continent, as GeoIP databases divide the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Continent {
    /// `@africa`
    Africa,
    /// `@antarctica`
    Antarctica,
    /// `@asia`
    Asia,
    /// `@europe`
    Europe,
    /// `@north-america`
    NorthAmerica,
    /// `@oceania`
    Oceania,
    /// `@south-america`
    SouthAmerica,
}
