//! A user's MMDB file, read into memory, walked once and flattened.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use foldhash::fast::RandomState;
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader, WithinOptions};
use tokio::time::Instant;

use crate::geo::error::GeoError;
use crate::geo::flat::{FlatBuilder, FlatTable};
use crate::geo::special;
use meridian_core::model::country::Country;

/// A file larger than this is no country database: the largest published ones, with cities and
/// networks, stay well below.
const MAX_BYTES: u64 = 2 << 30;

/// The largest number of leaves, as a multiple of the tree's nodes. A sound tree has one leaf more
/// than nodes, and up to three more trees of the IPv4 part, which the format repeats under
/// `::ffff:0:0/96`, `2001::/32` and `2002::/16`; twice that leaves room for writers that share
/// equal subtrees.
const LEAVES_PER_NODE: usize = 8;

/// The largest number of ranges, which bounds the memory a table takes to some 300 MiB. Databases
/// of countries have some 100,000, since neighbours of the same country are one range.
const MAX_RANGES: usize = 1 << 24;

/// Flattening takes tens of milliseconds. A file that keeps a machine busy for this long was made
/// to do so.
const MAX_TIME: Duration = Duration::from_secs(30);

/// How many leaves pass between two looks at the clock.
const LEAVES_PER_LOOK: usize = 1 << 12;

/// Where a database keeps the country code in its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CountryField {
    /// `country.iso_code`: GeoLite2 and GeoIP2, DB-IP.
    IsoCode,
    /// `country_code`: the ip-location-db family.
    CountryCode,
    /// `country`: a code right there.
    Country,
}

impl CountryField {
    /// All fields, in the order they are tried. `country_code` is before `country`, which some
    /// databases have beside it for the country's name.
    pub const ALL: [Self; 3] = [Self::IsoCode, Self::CountryCode, Self::Country];

    /// The field's path, as a person would write it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::IsoCode => "country.iso_code",
            Self::CountryCode => "country_code",
            Self::Country => "country",
        }
    }

    fn path(self) -> &'static [PathElement<'static>] {
        match self {
            Self::IsoCode => &[PathElement::Key("country"), PathElement::Key("iso_code")],
            Self::CountryCode => &[PathElement::Key("country_code")],
            Self::Country => &[PathElement::Key("country")],
        }
    }
}

impl fmt::Display for CountryField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A database, flattened.
#[derive(Debug)]
pub struct Database {
    /// The file it was read from.
    pub path: PathBuf,
    /// What it calls itself, such as `GeoLite2-Country`.
    pub kind: String,
    /// Where it keeps the country code.
    pub field: CountryField,
    /// When it was built, since 1970-01-01 UTC.
    pub built: Duration,
    /// Address to country.
    pub table: FlatTable,
}

impl Database {
    /// Reads and flattens the file at `path`: tens of milliseconds for a database of countries.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is no MMDB (a truncated one has lost its end, where the format is
    /// described), is damaged, or has no country code in it.
    pub fn read(path: &Path) -> Result<Self, GeoError> {
        let bytes = read_bounded(path)?;
        // The reader checks what it reads, but states its own assumptions with `unreachable!`.
        // The file is somebody else's and is replaced under traffic: whatever is in it, the
        // process lives on with the old table. Nothing outside the closure is changed by it.
        catch_unwind(AssertUnwindSafe(|| Self::flatten(path, &bytes))).unwrap_or_else(|_| {
            Err(GeoError::Damaged {
                path: path.to_owned(),
                reason: "the reader gave up on it".to_owned(),
            })
        })
    }

    fn flatten(path: &Path, bytes: &[u8]) -> Result<Self, GeoError> {
        let damaged = |error: MaxMindDbError| GeoError::Damaged {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let reader = Reader::from_source(bytes).map_err(|error| GeoError::NotMmdb {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let kind = reader.metadata().database_type.clone();
        let deadline = Deadline::after(MAX_TIME);
        let Some(field) = probe(&reader, deadline).map_err(damaged)? else {
            return Err(GeoError::NoCountry {
                path: path.to_owned(),
                kind,
            });
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            field,
            built: Duration::from_secs(reader.metadata().build_epoch),
            table: walk(&reader, field, deadline).map_err(damaged)?,
        })
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, GeoError> {
    let unreadable = |source| GeoError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(GeoError::NotMmdb {
            path: path.to_owned(),
            reason: format!("it is larger than {} GiB", MAX_BYTES >> 30),
        });
    }
    Ok(bytes)
}

type MmdbReader<'a> = Reader<&'a [u8]>;
type Record<'a> = LookupResult<'a, &'a [u8]>;

/// When to give up on a file.
#[derive(Clone, Copy, Debug)]
struct Deadline(Instant);

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self(Instant::now() + limit)
    }

    fn check(self) -> Result<(), MaxMindDbError> {
        if Instant::now() <= self.0 {
            return Ok(());
        }
        Err(MaxMindDbError::invalid_database(
            "reading it takes far longer than a sound file of its size can",
        ))
    }
}

/// All leaves of the search tree, those without data and the repeated IPv4 ones included: each
/// step of the walk counts, so that it ends.
///
/// In a damaged tree nodes may share children, and the paths through it are then as many as
/// there are addresses; the walk ends with an error soon after the leaves a sound one can have.
/// Were repeated IPv4 parts left out by the reader, it could walk such paths without an end and
/// without giving control back.
fn leaves<'a>(
    reader: &'a MmdbReader<'a>,
    deadline: Deadline,
) -> Result<impl Iterator<Item = Result<Record<'a>, MaxMindDbError>>, MaxMindDbError> {
    let nodes = reader.metadata().node_count as usize;
    let limit = nodes.saturating_mul(LEAVES_PER_NODE).saturating_add(1);
    let options = WithinOptions::default()
        .include_networks_without_data()
        .include_aliased_networks();
    let leaves = reader.networks(options)?.enumerate();
    Ok(leaves.map(move |(index, leaf)| {
        if index >= limit {
            return Err(MaxMindDbError::invalid_database(
                "its search tree is no tree: more leaves than its nodes can have",
            ));
        }
        if index % LEAVES_PER_LOOK == 0 {
            deadline.check()?;
        }
        leaf
    }))
}

/// The field that holds country codes: the first one that any record answers.
fn probe(
    reader: &MmdbReader<'_>,
    deadline: Deadline,
) -> Result<Option<CountryField>, MaxMindDbError> {
    let mut seen = HashSet::with_hasher(RandomState::default());
    for leaf in leaves(reader, deadline)? {
        let leaf = leaf?;
        let Some(offset) = leaf.offset() else {
            continue;
        };
        if !seen.insert(offset) {
            continue;
        }
        deadline.check()?;
        // A field of another type is not the one we look for, so an error is no answer here.
        let holds_code = |field: &CountryField| {
            let code = leaf.decode_path::<&str>(field.path());
            code.is_ok_and(|code| code.is_some_and(is_code))
        };
        if let Some(field) = CountryField::ALL.into_iter().find(holds_code) {
            return Ok(Some(field));
        }
    }
    Ok(None)
}

fn is_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn walk(
    reader: &MmdbReader<'_>,
    field: CountryField,
    deadline: Deadline,
) -> Result<FlatTable, MaxMindDbError> {
    let mut builder = FlatBuilder::default();
    let mut countries = Countries::new(field, deadline);
    for leaf in leaves(reader, deadline)? {
        let leaf = leaf?;
        let network = leaf.network()?;
        let (first, prefix) = (network.network(), network.prefix());
        // A record above the IPv4 part of an IPv6 tree (which is ::/96) answers for all of it.
        let holds_v4 = first == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && prefix <= 96;
        if !holds_v4 && is_special_v6(first, prefix) {
            continue;
        }
        let country = countries.of(&leaf)?;
        if holds_v4 {
            builder.push(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, country);
        }
        builder.push(first, prefix, country);
        if builder.ranges() > MAX_RANGES {
            return Err(MaxMindDbError::invalid_database(
                "more changes from country to country than the internet has",
            ));
        }
    }
    Ok(builder.build())
}

/// Whether nobody can have an address of this network, so that it needs no range; the repeated
/// IPv4 parts below 2001::/32 and 2002::/16 are such. All other special-use ranges of IPv6 have at
/// most 32 bits too: a network of at least 32 lies inside of one or outside.
fn is_special_v6(first: IpAddr, prefix: u8) -> bool {
    let IpAddr::V6(v6) = first else { return false };
    let inside = if v6.segments()[0] == 0x2002 { 16 } else { 32 };
    prefix >= inside && !special::is_public(first)
}

/// The country of each record, decoded once per record and not once per network: a database has
/// a thousand times more networks than countries.
struct Countries {
    field: CountryField,
    deadline: Deadline,
    by_record: HashMap<usize, Option<Country>, RandomState>,
    /// Where records differ in more than the country, many share a code.
    by_code: HashMap<[u8; 2], Option<Country>, RandomState>,
}

impl Countries {
    fn new(field: CountryField, deadline: Deadline) -> Self {
        Self {
            field,
            deadline,
            by_record: HashMap::default(),
            by_code: HashMap::default(),
        }
    }

    fn of(&mut self, leaf: &Record<'_>) -> Result<Option<Country>, MaxMindDbError> {
        let Some(offset) = leaf.offset() else {
            return Ok(None);
        };
        if let Some(known) = self.by_record.get(&offset) {
            return Ok(*known);
        }
        self.deadline.check()?;
        let code: Option<&str> = leaf.decode_path(self.field.path())?;
        // Codes of no country (`AP`, `EU`, `XX`) are no answer, so that the next source is asked.
        let country = code
            .and_then(|code| <[u8; 2]>::try_from(code.as_bytes()).ok())
            .and_then(|code| {
                *self
                    .by_code
                    .entry(code)
                    .or_insert_with(|| Country::parse(&code))
            });
        self.by_record.insert(offset, country);
        Ok(country)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_has_passed_ends_the_reading() {
        assert!(Deadline::after(Duration::from_secs(60)).check().is_ok());
        let passed = Deadline(Instant::now() - Duration::from_millis(1));
        assert!(passed.check().is_err());
    }

    #[test]
    fn networks_inside_of_special_ranges_need_no_range() {
        let table = [
            ("2002:500::", 24, true),
            ("2002::", 16, true),
            ("2000::", 8, false),
            ("2001:0:500::", 40, true),
            ("2001:db8::", 32, true),
            ("2001::", 16, false),
            ("2a00::", 32, false),
            ("5.0.0.0", 32, false),
        ];
        for (first, prefix, special) in table {
            let found = is_special_v6(first.parse().unwrap(), prefix);
            assert_eq!(found, special, "{first}/{prefix}");
        }
    }
}
