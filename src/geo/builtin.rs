//! The table built into the binary: where the regional registries say an address block is
//! registered. Without the feature `geo-builtin` it knows nothing.

use std::net::IpAddr;
use std::time::Duration;

use meridian_core::model::country::Country;

/// When the registries' data was packed, since 1970-01-01 UTC (2026-11-01 06:11:23): the release
/// of the pinned crate, which carries no date itself.
#[cfg(feature = "geo-builtin")]
const BUILT: Duration = Duration::from_secs(1_793_513_483);

/// The release of `iptocc` that [`BUILT`] belongs to; `Cargo.toml` pins the same.
#[cfg(all(test, feature = "geo-builtin"))]
const RELEASE: &str = "1.4.175";

/// The country that `address` is registered in. The caller unmaps IPv4 addresses and leaves
/// special-use ones out.
#[cfg(feature = "geo-builtin")]
#[inline]
#[must_use]
pub fn country(address: IpAddr) -> Option<Country> {
    Country::parse(iptocc::country_code(address)?.as_bytes())
}

/// When the data was packed, since 1970-01-01 UTC.
#[cfg(feature = "geo-builtin")]
#[must_use]
pub fn built() -> Option<Duration> {
    Some(BUILT)
}

/// No country: the table was left out of this build.
#[cfg(not(feature = "geo-builtin"))]
#[must_use]
pub fn country(_address: IpAddr) -> Option<Country> {
    None
}

/// No date: the table was left out of this build.
#[cfg(not(feature = "geo-builtin"))]
#[must_use]
pub fn built() -> Option<Duration> {
    None
}

#[cfg(all(test, feature = "geo-builtin"))]
mod tests {
    use super::*;

    #[test]
    fn the_build_date_belongs_to_the_pinned_release() {
        let pin = format!("iptocc = {{ version = \"={RELEASE}\"");
        let manifest = include_str!("../../Cargo.toml");
        assert!(
            manifest.contains(&pin),
            "another release was pinned: set BUILT and RELEASE to match it"
        );
    }

    #[test]
    fn a_german_address_is_german() {
        let country = country("193.99.144.80".parse().unwrap()).unwrap();
        assert_eq!(country.as_str(), "DE");
    }
}
