//! Which peers' word on the viewer is believed.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

/// A set of address prefixes, merged into sorted ranges: a look-up is one binary search, whether
/// there are three prefixes or thousands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    /// First and last address of each range, ascending, never touching. The families are kept
    /// apart so that `::/0` does not silently trust all of IPv4.
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl TrustedPeers {
    /// The set that `prefixes` cover; order and overlaps do not matter. A prefix of IPv4-mapped
    /// addresses (`::ffff:10.0.0.0/104`) means the IPv4 prefix.
    #[must_use]
    pub fn new(prefixes: &[IpNet]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for prefix in prefixes {
            match (*prefix, mapped_v4(prefix)) {
                (_, Some(net)) | (IpNet::V4(net), None) => {
                    v4.push((net.network().to_bits(), net.broadcast().to_bits()));
                }
                (IpNet::V6(net), None) => {
                    v6.push((net.network().to_bits(), net.broadcast().to_bits()));
                }
            }
        }
        Self {
            v4: merged(v4, |end| end.checked_add(1)),
            v6: merged(v6, |end| end.checked_add(1)),
        }
    }

    /// Whether `address` is in the set; an IPv4-mapped IPv6 address counts as its IPv4 address,
    /// which is how a dual-stack socket shows IPv4 peers.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => within(&self.v4, address.to_bits()),
            IpAddr::V6(address) => within(&self.v6, address.to_bits()),
        }
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// The IPv4 prefix an IPv4-mapped IPv6 prefix stands for.
fn mapped_v4(prefix: &IpNet) -> Option<Ipv4Net> {
    let IpNet::V6(net) = prefix else { return None };
    let length = net.prefix_len().checked_sub(96)?;
    let address: Ipv4Addr = net.network().to_ipv4_mapped()?;
    Ipv4Net::new(address, length).ok()
}

fn merged<T: Copy + Ord>(
    mut ranges: Vec<(T, T)>,
    successor: impl Fn(T) -> Option<T>,
) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if successor(*end).is_none_or(|next| first <= next) => {
                *end = last.max(*end);
            }
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn within<T: Copy + Ord>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after
        .checked_sub(1)
        .and_then(|index| ranges.get(index))
        .is_some_and(|(_, last)| address <= *last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(prefixes: &[&str]) -> TrustedPeers {
        let prefixes: Vec<IpNet> = prefixes.iter().map(|p| p.parse().unwrap()).collect();
        TrustedPeers::new(&prefixes)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_is_trusted_unless_written() {
        let peers = peers(&[]);
        assert!(peers.is_empty());
        assert!(!peers.contains(address("127.0.0.1")));
    }

    #[test]
    fn the_first_and_last_address_of_a_prefix_are_in_and_their_neighbours_out() {
        let peers = peers(&["10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"]);
        for inside in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "2001:db8::1"] {
            assert!(peers.contains(address(inside)), "{inside}");
        }
        for outside in [
            "10.0.255.255",
            "10.2.0.0",
            "192.0.2.6",
            "192.0.2.8",
            "2001:db9::",
        ] {
            assert!(!peers.contains(address(outside)), "{outside}");
        }
    }

    #[test]
    fn an_ipv4_peer_of_a_dual_stack_socket_is_recognised() {
        assert!(peers(&["10.0.0.0/8"]).contains(address("::ffff:10.2.3.4")));
        assert!(peers(&["::ffff:10.0.0.0/104"]).contains(address("10.2.3.4")));
    }

    #[test]
    fn all_of_ipv6_is_not_all_of_ipv4() {
        let peers = peers(&["::/0"]);
        assert!(peers.contains(address("2001:db8::1")));
        assert!(!peers.contains(address("192.0.2.1")));
    }

    #[test]
    fn overlapping_and_adjacent_prefixes_merge() {
        let overlapping = peers(&["10.0.0.0/9", "10.128.0.0/9", "10.3.0.0/16"]);
        assert_eq!(overlapping, peers(&["10.0.0.0/8"]));
        let everything = peers(&["0.0.0.0/0", "255.255.255.255/32"]);
        assert!(everything.contains(address("255.255.255.255")));
        assert_eq!(everything.v4.len(), 1);
    }

    #[test]
    fn thousands_of_prefixes_are_searched_exactly() {
        let prefixes: Vec<IpNet> = (0..5000_u32)
            .map(|i| {
                Ipv4Net::new(Ipv4Addr::from_bits(i << 12), 24)
                    .unwrap()
                    .into()
            })
            .collect();
        let peers = TrustedPeers::new(&prefixes);
        assert!(peers.contains(IpAddr::V4(Ipv4Addr::from_bits((4321 << 12) | 255))));
        assert!(!peers.contains(IpAddr::V4(Ipv4Addr::from_bits((4321 << 12) | 256))));
    }
}
