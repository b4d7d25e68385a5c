//! What a viewer's part of shares and weights is drawn by.

use std::net::IpAddr;

use xxhash_rust::xxh3::xxh3_64;

/// What a viewer's part of shares and weights is drawn by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawKey {
    /// Its address: it stays with its region, whichever proxy it asks.
    Address,
    /// This random number, another one for each request: its address stands for so much of the
    /// traffic that one region would get all of that at once.
    Request(u64),
}

impl DrawKey {
    /// The number that `viewer`'s part is drawn by.
    pub(super) fn number(self, viewer: IpAddr) -> u64 {
        match self {
            Self::Address => viewer_hash(viewer),
            Self::Request(number) => number,
        }
    }

    /// The same in words.
    pub(super) fn in_words(self) -> &'static str {
        match self {
            Self::Address => "drawn by its address unless that sends much of the traffic",
            Self::Request(_) => "drawn for this request alone",
        }
    }
}

/// One value per viewer, the same on every host. An IPv6 viewer is its /64: its addresses
/// within that change by the hour.
fn viewer_hash(viewer: IpAddr) -> u64 {
    match viewer.to_canonical() {
        IpAddr::V4(address) => xxh3_64(&address.octets()),
        IpAddr::V6(address) => xxh3_64(&address.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_viewer_is_its_network() {
        let hash = |address: &str| viewer_hash(address.parse().expect("an address"));
        assert_eq!(hash("2001:db8::1"), hash("2001:db8::2"));
        assert_ne!(hash("2001:db8::1"), hash("2001:db8:0:1::1"));
        assert_eq!(hash("::ffff:192.0.2.1"), hash("192.0.2.1"));
    }
}
