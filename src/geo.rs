//! Address to country: the user's database flattened once, then the built-in table.

pub mod builtin;
mod error;
pub(crate) mod flat;
pub mod mmdb;
pub(crate) mod special;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use crate::geo::error::GeoError;
use crate::geo::mmdb::{CountryField, Database};
use meridian_core::model::country::Country;
use meridian_core::model::viewer::ViewerSource;

/// Data older than this deserves a warning: address blocks change hands, and after half a year
/// some percent of answers are wrong.
pub const STALE_AFTER: Duration = Duration::from_secs(180 * 24 * 3600);

/// The country of every address, in flat sorted ranges. The default has no database, only the
/// table built into the binary.
#[derive(Debug, Default)]
pub struct GeoTable {
    database: Option<Database>,
}

impl GeoTable {
    /// The database at `path` (an MMDB file) in front of the built-in table, or that table alone.
    /// Reads the whole file: not for a thread that serves.
    ///
    /// # Errors
    ///
    /// When there is a path, but no usable database behind it.
    pub fn load(path: Option<&Path>) -> Result<Self, GeoError> {
        let database = path.map(Database::read).transpose()?;
        Ok(Self { database })
    }

    /// The country of `address` and which table knew it: the user's database, then the built-in
    /// one. Special-use addresses (private, CGNAT, loopback, documentation, ...) are nowhere; an
    /// IPv4 address mapped into IPv6 counts as itself.
    #[inline]
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<(Country, ViewerSource)> {
        let address = address.to_canonical();
        if !special::is_public(address) {
            return None;
        }
        if let Some(database) = &self.database
            && let Some(country) = database.table.country(address)
        {
            return Some((country, ViewerSource::Database));
        }
        builtin::country(address).map(|country| (country, ViewerSource::Builtin))
    }

    /// What is loaded, for operators.
    #[must_use]
    pub fn info(&self) -> GeoInfo {
        GeoInfo {
            database: self.database.as_ref().map(|database| {
                let (ranges_v4, ranges_v6) = database.table.ranges();
                DatabaseInfo {
                    path: database.path.clone(),
                    kind: database.kind.clone(),
                    field: database.field,
                    built: database.built,
                    ranges_v4,
                    ranges_v6,
                    memory_bytes: database.table.memory_bytes(),
                }
            }),
            builtin_built: builtin::built(),
        }
    }
}

/// What a [`GeoTable`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeoInfo {
    /// The user's database, if there is one.
    pub database: Option<DatabaseInfo>,
    /// When the built-in table's data was packed, since 1970-01-01 UTC; `None`: it was left out
    /// of this build.
    pub builtin_built: Option<Duration>,
}

/// What a user's database holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// The file it was read from.
    pub path: PathBuf,
    /// What it calls itself, such as `GeoLite2-Country`.
    pub kind: String,
    /// Where it keeps the country code.
    pub field: CountryField,
    /// When it was built, since 1970-01-01 UTC.
    pub built: Duration,
    /// IPv4 ranges, gaps included.
    pub ranges_v4: usize,
    /// IPv6 ranges, gaps included.
    pub ranges_v6: usize,
    /// Bytes on the heap.
    pub memory_bytes: usize,
}

impl GeoInfo {
    /// The age, at `now` since 1970-01-01 UTC, of the table that is asked first; zero if it
    /// claims to come from the future, `None` if there is no table at all.
    #[must_use]
    pub fn age(&self, now: Duration) -> Option<Duration> {
        let built = match &self.database {
            Some(database) => Some(database.built),
            None => self.builtin_built,
        };
        built.map(|built| now.saturating_sub(built))
    }

    /// Whether [`GeoInfo::age`] is above [`STALE_AFTER`].
    #[must_use]
    pub fn is_stale(&self, now: Duration) -> bool {
        self.age(now).is_some_and(|age| age > STALE_AFTER)
    }
}
