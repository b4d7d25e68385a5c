//! Country databases: the schemas in use, and files that are damaged.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use meridian::geo::mmdb::CountryField;
use meridian::geo::{GeoError, GeoTable};
use meridian_core::model::viewer::ViewerSource;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::mmdb::{Branch, MmdbWriter, Value};

/// How a record keeps a code.
type Schema = fn(&str) -> Value;

/// A database whose records keep the code as `schema` says.
fn database(ip_version: u16, schema: Schema) -> MmdbWriter {
    let mut writer = MmdbWriter::new("Test-Country", ip_version);
    let germany = writer.record(schema("DE"));
    let france = writer.record(schema("FR"));
    let nowhere = writer.record(schema("AP"));
    writer.network("5.0.0.0/8", germany);
    writer.network("5.6.0.0/16", france);
    writer.network("5.6.7.8/32", germany);
    writer.network("6.0.0.0/8", nowhere);
    if ip_version == 6 {
        writer.network("2a00::/12", germany);
        writer.network("2a00:1::/48", france);
    }
    writer
}

fn iso_code(code: &str) -> Value {
    let names = Value::map(&[("en", Value::text("a name"))]);
    let country = [
        ("geoname_id", Value::U32(1)),
        ("iso_code", Value::text(code)),
        ("names", names),
    ];
    Value::map(&[
        ("continent", Value::map(&[("code", Value::text("EU"))])),
        ("country", Value::map(&country)),
    ])
}

fn country_code(code: &str) -> Value {
    Value::map(&[("country_code", Value::text(code))])
}

fn country(code: &str) -> Value {
    Value::map(&[("asn", Value::text("AS1")), ("country", Value::text(code))])
}

fn load(bytes: &[u8]) -> Result<GeoTable, GeoError> {
    let folder = TempDir::new().unwrap();
    GeoTable::load(Some(&written(&folder, bytes)))
}

fn written(folder: &TempDir, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join("country.mmdb");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// The country that the database, not the built-in table, has for `address`.
fn at(table: &GeoTable, address: &str) -> Option<String> {
    let (country, source) = table.country(address.parse().unwrap())?;
    (source == ViewerSource::Database).then(|| country.to_string())
}

#[test]
fn the_three_schemas_are_understood() {
    let schemas: [(Schema, CountryField); 3] = [
        (iso_code, CountryField::IsoCode),
        (country_code, CountryField::CountryCode),
        (country, CountryField::Country),
    ];
    for (schema, field) in schemas {
        for record_bits in [24, 28, 32] {
            let mut writer = database(6, schema);
            writer.record_bits = record_bits;
            let table = load(&writer.bytes()).unwrap();
            let info = table.info().database.unwrap();
            assert_eq!(info.field, field);
            assert_eq!(info.kind, "Test-Country");
            assert_eq!(info.built, Duration::from_secs(writer.built));
            for (address, expected) in [
                ("5.0.0.1", Some("DE")),
                ("5.6.7.7", Some("FR")),
                ("5.6.7.8", Some("DE")),
                ("5.6.7.9", Some("FR")),
                ("5.7.0.0", Some("DE")),
                ("6.1.2.3", None),
                ("::ffff:5.6.7.9", Some("FR")),
                ("2a00::1", Some("DE")),
                ("2a00:1::1", Some("FR")),
                ("2a0f::1", Some("DE")),
                ("2a10::1", None),
                ("10.1.2.3", None),
            ] {
                assert_eq!(
                    at(&table, address).as_deref(),
                    expected,
                    "{field} {address}"
                );
            }
        }
    }
}

#[test]
fn a_database_of_ipv4_alone_is_usable() {
    let table = load(&database(4, country_code).bytes()).unwrap();
    assert_eq!(at(&table, "5.6.7.8").as_deref(), Some("DE"));
    assert_eq!(at(&table, "5.6.7.9").as_deref(), Some("FR"));
    assert_eq!(at(&table, "2a00::1"), None);
}

#[test]
fn repeated_ipv4_parts_change_nothing() {
    let mut writer = database(6, country_code);
    let plain = load(&writer.bytes()).unwrap().info().database.unwrap();
    writer.alias_ipv4();
    let table = load(&writer.bytes()).unwrap();
    let aliased = table.info().database.unwrap();
    assert_eq!(aliased.ranges_v4, plain.ranges_v4);
    assert_eq!(aliased.ranges_v6, plain.ranges_v6);
    assert_eq!(at(&table, "5.6.7.9").as_deref(), Some("FR"));
    assert_eq!(at(&table, "2002:506:709::1"), None);
}

#[test]
fn a_record_above_the_ipv4_part_answers_for_all_of_it() {
    for network in ["::/1", "::/64", "::/96"] {
        let mut writer = MmdbWriter::new("Test-Country", 6);
        let germany = writer.record(country_code("DE"));
        writer.network(network, germany);
        let table = load(&writer.bytes()).unwrap();
        assert_eq!(at(&table, "5.6.7.8").as_deref(), Some("DE"), "{network}");
        assert_eq!(
            at(&table, "223.255.255.255").as_deref(),
            Some("DE"),
            "{network}"
        );
    }
}

#[test]
fn special_addresses_are_nowhere_whatever_the_database_says() {
    let mut writer = MmdbWriter::new("Test-Country", 6);
    let australia = writer.record(country_code("AU"));
    writer.network("0.0.0.0/1", australia);
    writer.network("128.0.0.0/1", australia);
    writer.network("2000::/3", australia);
    let table = load(&writer.bytes()).unwrap();
    for address in [
        "203.0.113.7",
        "100.64.0.1",
        "127.0.0.1",
        "2001:db8::1",
        "::1",
    ] {
        assert_eq!(at(&table, address), None, "{address}");
    }
    assert_eq!(at(&table, "203.0.114.7").as_deref(), Some("AU"));
    assert_eq!(at(&table, "2001:200::1").as_deref(), Some("AU"));
}

#[cfg(feature = "geo-builtin")]
#[test]
fn the_built_in_table_answers_what_the_database_does_not_know() {
    let table = load(&database(6, country_code).bytes()).unwrap();
    let (country, source) = table.country("193.99.144.80".parse().unwrap()).unwrap();
    assert_eq!(country.as_str(), "DE");
    assert_eq!(source, ViewerSource::Builtin);
}

#[test]
fn the_age_is_that_of_the_database() {
    let info = load(&database(6, country_code).bytes()).unwrap().info();
    let built = Duration::from_secs(1_790_000_000);
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(info.age(built + day), Some(day));
    assert!(!info.is_stale(built + 180 * day));
    assert!(info.is_stale(built + 181 * day));
    assert_eq!(info.age(built - day), Some(Duration::ZERO));
}

#[test]
fn a_missing_or_foreign_file_is_named_in_the_error() {
    let error = GeoTable::load(Some(Path::new("no/such.mmdb"))).unwrap_err();
    assert_eq!(error.kind(), "unreadable");
    assert!(
        error.to_string().starts_with("cannot read no/such.mmdb: "),
        "{error}"
    );
    assert_eq!(load(b"").unwrap_err().kind(), "not_mmdb");
    assert_eq!(load(b"PK\x03\x04 rubbish").unwrap_err().kind(), "not_mmdb");

    let other = database(6, |_| Value::map(&[("asn", Value::U32(1))]));
    let error = load(&other.bytes()).unwrap_err();
    assert_eq!(error.kind(), "no_country");
    assert!(error.to_string().contains("Test-Country"), "{error}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = database(6, iso_code).bytes();
    let folder = TempDir::new().unwrap();
    for length in 0..bytes.len() {
        let path = written(&folder, &bytes[..length]);
        let error = GeoTable::load(Some(&path)).unwrap_err();
        assert_eq!(error.kind(), "not_mmdb", "{length}: {error}");
        assert_eq!(error.path(), path);
    }
}

/// Every node's branches both lead to the next one: 2^128 paths through 128 nodes.
#[test]
fn a_tree_with_shared_branches_ends_the_walk_soon() {
    for ip_version in [4, 6] {
        for depth in [32, 96, 97, 127] {
            let mut writer = MmdbWriter::new("Test-Country", ip_version);
            let germany = writer.record(country_code("DE"));
            writer.nodes = (1..depth).map(|next| [Branch::Node(next); 2]).collect();
            for last in [Branch::Record(germany), Branch::Empty, Branch::Node(0)] {
                let mut crafted = writer.clone();
                crafted.nodes.push([last; 2]);
                let error = load(&crafted.bytes()).unwrap_err();
                // With codes in its first leaves it is a database, but a damaged one.
                let kinds = ["damaged", "no_country"];
                assert!(kinds.contains(&error.kind()), "{depth} {last:?}: {error}");
            }
        }
    }
}

/// Looks a few addresses up, for what it does to the process.
fn use_table(table: &GeoTable) {
    for address in [
        "5.6.7.8",
        "0.0.0.0",
        "255.255.255.255",
        "2a00::1",
        "3fff:ffff::",
    ] {
        let address: IpAddr = address.parse().unwrap();
        let _ = table.country(address);
    }
    let _ = table.info();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_mutated_file_is_refused_or_usable(
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        aliased in any::<bool>(),
    ) {
        let mut writer = database(6, iso_code);
        if aliased {
            writer.alias_ipv4();
        }
        let mut bytes = writer.bytes();
        for (place, byte) in mutations {
            *place.get_mut(&mut bytes) = byte;
        }
        if let Ok(table) = load(&bytes) {
            use_table(&table);
        }
    }

    #[test]
    fn mutated_records_and_metadata_are_refused_or_usable(
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let writer = database(6, iso_code);
        let mut bytes = writer.bytes();
        let tree = writer.nodes.len() * 6;
        for (place, byte) in mutations {
            *place.get_mut(&mut bytes[tree..]) = byte;
        }
        if let Ok(table) = load(&bytes) {
            use_table(&table);
        }
    }

    #[test]
    fn the_flat_table_answers_as_the_reader_does(addresses in prop::collection::vec(any::<u32>(), 64)) {
        let bytes = database(6, country_code).bytes();
        let table = load(&bytes).unwrap();
        let reader = maxminddb::Reader::from_source(bytes.as_slice()).unwrap();
        let path = [maxminddb::PathElement::Key("country_code")];
        for bits in addresses {
            // Most of them near the networks of the database.
            let address = std::net::Ipv4Addr::from_bits(bits % (8 << 24));
            let found = reader.lookup(address.into()).unwrap();
            let code: Option<&str> = found.decode_path(&path).unwrap();
            let usable = code.filter(|code| *code != "AP" && !matches!(address.octets()[0], 0));
            let known = at(&table, &address.to_string());
            prop_assert_eq!(known.as_deref(), usable, "{}", address);
        }
    }
}
