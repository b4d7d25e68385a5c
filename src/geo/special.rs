//! Addresses that are nowhere: private, documentation and other special-use ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `address` is one that a viewer on the internet can have. The ranges of the IANA
/// special-purpose registries (RFC 6890) cannot: databases that answer for them (the
/// documentation range 203.0.113.0/24 is Australian in some) are not to be believed.
#[inline]
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    match address.octets() {
        // This network, private (RFC 1918), loopback.
        [0 | 10 | 127, ..] => false,
        // Carrier-grade NAT, RFC 6598.
        [100, second, ..] => second & 0xc0 != 64,
        // Link-local.
        [169, second, ..] => second != 254,
        // Private.
        [172, second, ..] => second & 0xf0 != 16,
        // Protocol assignments, documentation; the former 6to4 relays; private.
        [192, 0, 0 | 2, _] | [192, 88, 99, _] | [192, 168, ..] => false,
        // Benchmarks, documentation.
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => false,
        // Multicast, reserved, broadcast.
        [first, ..] => first < 224,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    match first {
        // Protocol assignments (Teredo among them) are 2001::/23; documentation is 2001:db8::/32.
        0x2001 => second >= 0x200 && second != 0xdb8,
        // 6to4.
        0x2002 => false,
        // Documentation, 3fff::/20, RFC 9637.
        0x3fff => second >= 0x1000,
        // Only 2000::/3 is given out for global unicast.
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_ranges_are_nowhere_and_their_neighbours_are_not() {
        let table = [
            ("0.1.2.3", false),
            ("1.0.0.0", true),
            ("10.255.255.255", false),
            ("11.0.0.0", true),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.0.0.1", false),
            ("169.253.0.1", true),
            ("169.254.169.254", false),
            ("172.15.255.255", true),
            ("172.16.0.0", false),
            ("172.31.255.255", false),
            ("172.32.0.0", true),
            ("192.0.0.1", false),
            ("192.0.1.1", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.1.1", false),
            ("198.17.0.1", true),
            ("198.19.255.255", false),
            ("198.51.100.7", false),
            ("203.0.113.7", false),
            ("203.0.114.7", true),
            ("223.255.255.255", true),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("64:ff9b::1.2.3.4", false),
            ("2001:0:1::", false),
            ("2001:200::1", true),
            ("2001:db8::1", false),
            ("2002:506:708::1", false),
            ("2a00::1", true),
            ("3fff:fff::1", false),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ];
        for (address, public) in table {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
