//! What one lookup of a country costs: our flat table, the search tree of the same file, and the
//! table built into the binary, all over the same random addresses.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use fastrand::Rng;
use maxminddb::{PathElement, Reader};
use meridian::geo::GeoTable;
use meridian_core::model::country::Country;
use mmdb::{MmdbWriter, Value};

#[path = "../tests/it/support/mmdb.rs"]
mod mmdb;

/// So many that a lookup does not find its part of a table in the nearest cache by chance.
const ADDRESSES: usize = 1 << 16;

/// About as many networks as a database of countries has, of the sizes found there.
fn database(random: &mut Rng) -> MmdbWriter {
    let mut writer = MmdbWriter::new("Bench-Country", 6);
    let records: Vec<usize> = Country::all()
        .map(|country| Value::map(&[("country_code", Value::text(country.as_str()))]))
        .map(|record| writer.record(record))
        .collect();
    let mut first = Ipv4Addr::new(1, 0, 0, 0).to_bits();
    while first < Ipv4Addr::new(224, 0, 0, 0).to_bits() {
        // No larger than what the alignment of the address allows.
        let largest = 32 - first.trailing_zeros() as u8;
        let prefix = random.u8(12..=22).max(largest);
        writer.insert(
            Ipv4Addr::from_bits(first).into(),
            prefix,
            records[random.usize(..records.len())],
        );
        first += 1 << (32 - prefix);
    }
    for block in 0x2a00_0000_u128..0x2a01_0000 {
        let address = Ipv6Addr::from_bits(block << 96);
        writer.insert(address.into(), 32, records[random.usize(..records.len())]);
    }
    writer
}

fn addresses_v4(random: &mut Rng) -> Vec<IpAddr> {
    let first = Ipv4Addr::new(1, 0, 0, 0).to_bits();
    let last = Ipv4Addr::new(223, 255, 255, 255).to_bits();
    let addresses = (0..ADDRESSES).map(|_| Ipv4Addr::from_bits(random.u32(first..=last)));
    addresses.map(IpAddr::V4).collect()
}

fn addresses_v6(random: &mut Rng) -> Vec<IpAddr> {
    let first = Ipv6Addr::new(0x2a00, 0, 0, 0, 0, 0, 0, 0).to_bits();
    let addresses = (0..ADDRESSES).map(|_| Ipv6Addr::from_bits(first | random.u128(..1 << 112)));
    addresses.map(IpAddr::V6).collect()
}

fn lookup(criterion: &mut Criterion) {
    let mut random = Rng::with_seed(7);
    let bytes = database(&mut random).bytes();
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), &bytes).expect("room for the database");
    let table = GeoTable::load(Some(file.path())).expect("a sound database");
    let reader = Reader::from_source(bytes.as_slice()).expect("a sound database");
    let path = [PathElement::Key("country_code")];

    for (family, addresses) in [
        ("v4", addresses_v4(&mut random)),
        ("v6", addresses_v6(&mut random)),
    ] {
        let mut group = criterion.benchmark_group(format!("geo_lookup_{family}"));
        let mut each = addresses.iter().copied().cycle();
        let mut next = move || each.next().expect("a cycle has no end");
        group.bench_function("flat_table", |bencher| {
            bencher.iter(|| table.country(black_box(next())));
        });
        group.bench_function("maxminddb", |bencher| {
            bencher.iter(|| {
                let found = reader.lookup(black_box(next())).ok()?;
                let code: &str = found.decode_path(&path).ok()??;
                Country::parse(code.as_bytes())
            });
        });
        #[cfg(feature = "geo-builtin")]
        group.bench_function("iptocc", |bencher| {
            bencher.iter(|| iptocc::country_code(black_box(next())));
        });
        group.bench_function("builtin", |bencher| {
            bencher.iter(|| meridian::geo::builtin::country(black_box(next())));
        });
        group.finish();
    }
    criterion.bench_function("geo_load", |bencher| {
        bencher.iter(|| GeoTable::load(Some(file.path())));
    });
}

criterion_group!(benches, lookup);
criterion_main!(benches);
