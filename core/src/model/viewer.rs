//! Who asks.

use std::net::IpAddr;

use crate::model::country::Country;
use crate::model::place::Place;

/// Where the viewer's country was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ViewerSource {
    /// A country header set by a trusted peer.
    Header,
    /// The user's own database.
    Database,
    /// The table built into the binary.
    Builtin,
    /// Not learned: `viewer.unknown` says what then.
    Unknown,
}

impl ViewerSource {
    /// All sources, in the order they are asked.
    pub const ALL: [Self; 4] = [Self::Header, Self::Database, Self::Builtin, Self::Unknown];

    /// The source as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Database => "database",
            Self::Builtin => "builtin",
            Self::Unknown => "unknown",
        }
    }
}

/// Who asks, as far as it could be learned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Viewer {
    /// The viewer's own address: the peer's, or what a trusted peer says.
    pub address: IpAddr,
    /// The viewer's country, if any source knew it.
    pub country: Option<Country>,
    /// Which source that was.
    pub source: ViewerSource,
    /// Where the viewer is, when a trusted peer sent coordinates.
    pub place: Option<Place>,
}

impl Viewer {
    /// The country that decides, where `unknown` may have to name it.
    #[must_use]
    pub fn counts_as(&self, unknown: UnknownViewer) -> Option<Country> {
        match (self.country, unknown) {
            (Some(country), _) | (None, UnknownViewer::Country(country)) => Some(country),
            (None, UnknownViewer::Any | UnknownViewer::Refuse) => None,
        }
    }
}

/// What to do with a viewer whose country no source knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownViewer {
    /// Any region of the route.
    #[default]
    Any,
    /// As if from this country.
    Country(Country),
    /// No region of a route that has a residency: 403.
    Refuse,
}
