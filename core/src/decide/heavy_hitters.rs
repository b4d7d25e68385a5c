//! Addresses that much of the traffic comes from: the caller beside a sidecar, a NAT, a balancer
//! that is not among the `trusted_peers`.

use std::net::IpAddr;

use crate::decide::draw_key::DrawKey;

/// Addresses counted at a time: one more than a quarter of the requests come from is among them. A
/// larger part than that would make a region's return by 5, 10, 25 and 50 % a matter of luck.
const COUNTED: usize = 3;

/// So many requests more than are set off against it make an address a heavy hitter: more than a
/// page and what belongs to it, which one viewer asks for at once.
const HEAVY: u8 = 32;

/// Counts go no higher, so that one that has ended is soon forgotten.
const MOST: u8 = 2 * HEAVY;

/// Which addresses send much of one worker's traffic, after Misra and Gries: a request of an
/// address that is not counted takes one off each count.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeavyHitters([Count; COUNTED]);

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    network: u64,
    requests: u8,
}

impl HeavyHitters {
    /// Counts a request of `viewer`, and says what its part is drawn by.
    pub fn draw(&mut self, viewer: IpAddr, random: impl FnOnce() -> u64) -> DrawKey {
        if self.count(network(viewer)) >= HEAVY {
            DrawKey::Request(random())
        } else {
            DrawKey::Address
        }
    }

    /// Counts a request, and gives the count of its network.
    fn count(&mut self, network: u64) -> u8 {
        let known = self.0.iter_mut().find(|count| count.network == network);
        if let Some(count) = known {
            count.requests = MOST.min(count.requests + 1);
            return count.requests;
        }
        match self.0.iter_mut().find(|count| count.requests == 0) {
            Some(free) => {
                *free = Count {
                    network,
                    requests: 1,
                };
            }
            None => self.0.iter_mut().for_each(|count| count.requests -= 1),
        }
        0
    }
}

/// An address as one number; of an IPv6 address its /64, as shares are drawn.
fn network(viewer: IpAddr) -> u64 {
    match viewer.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of these requests are not drawn by their address; a viewer for each number.
    fn drawn_by_request(viewers: impl Iterator<Item = u32>) -> usize {
        let mut hitters = HeavyHitters::default();
        let drawn = viewers.map(|viewer| hitters.draw(IpAddr::V4(viewer.into()), || 7));
        drawn.filter(|key| *key == DrawKey::Request(7)).count()
    }

    #[test]
    fn an_address_that_sends_everything_is_drawn_by_request_after_a_page() {
        assert_eq!(drawn_by_request((0..31).map(|_| 1)), 0);
        assert_eq!(drawn_by_request((0..1000).map(|_| 1)), 1000 - 31);
    }

    #[test]
    fn the_nodes_of_a_balancer_are_drawn_by_request() {
        assert_eq!(drawn_by_request((0..3000).map(|n| n % 3)), 3 * (1000 - 31));
    }

    #[test]
    fn an_address_in_three_requests_is_drawn_by_request_and_the_others_are_not() {
        let one_in_three = |n: u32| if n.is_multiple_of(3) { 1 } else { 1000 + n };
        let found = drawn_by_request((0..30_000).map(one_in_three));
        assert!((9_000..=10_000).contains(&found), "{found} of 10,000");
    }

    #[test]
    fn ten_viewers_stay_with_their_addresses() {
        assert_eq!(drawn_by_request((0..10_000).map(|n| n % 10)), 0);
    }

    #[test]
    fn who_sent_much_and_ended_is_forgotten() {
        let first = (0..500).map(|_| 1);
        let others = (0..500).map(|n| 1000 + n);
        let page = (0..20).map(|_| 1);
        let found = drawn_by_request(first.chain(others).chain(page));
        assert_eq!(found, 500 - 31);
    }

    #[test]
    fn an_ipv6_viewer_counts_as_its_network() {
        let address = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}
