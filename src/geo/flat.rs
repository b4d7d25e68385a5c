//! Sorted ranges of addresses, each with its country, and an index over their upper bits.
//!
//! A search tree costs a cache miss per bit. Here one array access narrows an address down to a
//! block of the address space, a second one to a cell of it, and a binary search over the few
//! ranges of that cell ends it. Blocks are all of one size, while a block has the more cells the
//! more ranges are in it: most of IPv6 is empty, and what is in use lies close together.

use std::net::{IpAddr, Ipv6Addr};

use meridian_core::model::country::Country;

/// The country of every global unicast address. Never changes once it is built.
#[derive(Debug)]
pub struct FlatTable {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl FlatTable {
    /// The country of `address`, if the table knows one. An IPv4 address mapped into IPv6 is an
    /// IPv6 address here: the caller unmaps it.
    #[inline]
    #[must_use]
    pub fn country(&self, address: IpAddr) -> Option<Country> {
        match address {
            IpAddr::V4(v4) => self.v4.country(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.country(v6.to_bits()),
        }
    }

    /// How many ranges it holds, gaps between known ranges included: IPv4, IPv6.
    #[must_use]
    pub fn ranges(&self) -> (usize, usize) {
        (self.v4.starts.len(), self.v6.starts.len())
    }

    /// Bytes on the heap.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.v4.memory_bytes() + self.v6.memory_bytes()
    }
}

/// Collects networks in ascending order into a [`FlatTable`].
#[derive(Debug)]
pub struct FlatBuilder {
    v4: RangesBuilder<u32>,
    v6: RangesBuilder<u128>,
}

impl Default for FlatBuilder {
    fn default() -> Self {
        Self {
            v4: RangesBuilder::new(),
            v6: RangesBuilder::new(),
        }
    }
}

impl FlatBuilder {
    /// Adds the network of `prefix` bits (0 to 32 or 128) that starts at `first`. Networks come
    /// in ascending order per family; what overlaps an earlier network or lies outside the
    /// global unicast space is left out.
    pub fn push(&mut self, first: IpAddr, prefix: u8, country: Option<Country>) {
        match first {
            IpAddr::V4(v4) => {
                let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                self.v4
                    .push(v4.to_bits() & !hosts, v4.to_bits() | hosts, country);
            }
            IpAddr::V6(v6) => {
                let hosts = u128::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
                self.v6
                    .push(v6.to_bits() & !hosts, v6.to_bits() | hosts, country);
            }
        }
    }

    /// How many ranges there are by now, both families together.
    #[must_use]
    pub fn ranges(&self) -> usize {
        self.v4.starts.len() + self.v6.starts.len()
    }

    /// The table of all that was pushed; an address that was not has no country.
    #[must_use]
    pub fn build(self) -> FlatTable {
        FlatTable {
            v4: self.v4.build(),
            v6: self.v6.build(),
        }
    }
}

/// Blocks, one for each value of 16 bits.
const BLOCKS: usize = 1 << 16;

/// How many ranges a cell has on average, unless its block has fewer in all: their starts fill
/// one or two cache lines.
const RANGES_PER_CELL: usize = 4;

/// Bits that tell a block's cells apart, at most. That is all that IPv4 has below a block, and
/// ends with blocks of 35 bits in IPv6, where registries give out 32.
const MAX_CELL_BITS: u32 = 16;

/// An address as a number, and the part of its space that a table covers.
trait Address: Copy + Ord {
    /// The first address covered.
    const FIRST: Self;
    /// The last address covered.
    const LAST: Self;

    /// Which block a covered address falls into: never decreasing, below [`BLOCKS`].
    fn block(self) -> usize;

    /// Which of the 2^`bits` cells of its block a covered address falls into: never decreasing
    /// within the block. `bits` is at most [`MAX_CELL_BITS`].
    fn cell(self, bits: u32) -> usize;

    /// The next covered address.
    fn next(self) -> Option<Self>;
}

impl Address for u32 {
    const FIRST: Self = Self::MIN;
    const LAST: Self = Self::MAX;

    #[inline]
    fn block(self) -> usize {
        (self >> 16) as usize
    }

    #[inline]
    fn cell(self, bits: u32) -> usize {
        // In two steps, because a shift by all bits would be none.
        ((self << 16) >> 1 >> (31 - bits)) as usize
    }

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// IPv6 covers 2000::/3, all that IANA gave out for global unicast: the three bits that every
/// such address shares would leave seven of eight blocks empty.
impl Address for u128 {
    const FIRST: Self = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0).to_bits();
    const LAST: Self = Ipv6Addr::new(0x3fff, !0, !0, !0, !0, !0, !0, !0).to_bits();

    #[inline]
    fn block(self) -> usize {
        usize::from((self >> 109) as u16)
    }

    #[inline]
    fn cell(self, bits: u32) -> usize {
        let below = (self >> 64) as u64;
        ((below << 19) >> 1 >> (63 - bits)) as usize
    }

    fn next(self) -> Option<Self> {
        (self < Self::LAST).then(|| self + 1)
    }
}

/// Ranges of one family. Range `i` reaches from `starts[i]` to the start of the next.
#[derive(Debug)]
struct Ranges<A> {
    /// Ascending; the first is [`Address::FIRST`], so every covered address has a range.
    starts: Box<[A]>,
    /// The country of each range.
    countries: Box<[Option<Country>]>,
    blocks: Box<[Block]>,
    /// For each cell of each block, the first range that starts in it or later; one more at the
    /// end.
    cells: Box<[u32]>,
}

/// Where the cells of a block are.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// The first one.
    first: u32,
    /// It has 2 to the power of this many.
    bits: u32,
}

impl<A: Address> Ranges<A> {
    #[inline]
    fn country(&self, address: A) -> Option<Country> {
        if address < A::FIRST || address > A::LAST {
            return None;
        }
        let block = self.blocks[address.block()];
        let cell = block.first as usize + address.cell(block.bits);
        let from = self.cells[cell] as usize;
        let until = self.cells[cell + 1] as usize;
        let later = self.starts[from..until].partition_point(|start| *start <= address);
        // Range 0 starts at the first address of all, so at least one starts at or before this.
        self.countries[from + later - 1]
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(&*self.starts)
            + size_of_val(&*self.countries)
            + size_of_val(&*self.blocks)
            + size_of_val(&*self.cells)
    }
}

/// Collects ranges of one family in ascending order.
#[derive(Debug)]
struct RangesBuilder<A> {
    starts: Vec<A>,
    countries: Vec<Option<Country>>,
    /// The first address no range covers yet; `None` past the last.
    free: Option<A>,
}

impl<A: Address> RangesBuilder<A> {
    fn new() -> Self {
        Self {
            starts: Vec::new(),
            countries: Vec::new(),
            free: Some(A::FIRST),
        }
    }

    fn push(&mut self, first: A, last: A, country: Option<Country>) {
        let (first, last) = (first.max(A::FIRST), last.min(A::LAST));
        let Some(free) = self.free.filter(|free| *free <= first && first <= last) else {
            return;
        };
        if free < first {
            self.append(free, None);
        }
        self.append(first, country);
        self.free = last.next();
    }

    /// Neighbours of the same country become one range.
    fn append(&mut self, start: A, country: Option<Country>) {
        if self.countries.last() != Some(&country) {
            self.starts.push(start);
            self.countries.push(country);
        }
    }

    fn build(mut self) -> Ranges<A> {
        if let Some(free) = self.free {
            self.append(free, None);
        }
        let (blocks, cells) = index(&self.starts);
        Ranges {
            starts: self.starts.into(),
            countries: self.countries.into(),
            blocks: blocks.into(),
            cells: cells.into(),
        }
    }
}

/// Blocks and cells over ascending starts.
fn index<A: Address>(starts: &[A]) -> (Vec<Block>, Vec<u32>) {
    let mut blocks = Vec::with_capacity(BLOCKS);
    let mut cells = Vec::new();
    let mut next = 0;
    for block in 0..BLOCKS {
        let inside = starts[next..].iter();
        let inside = inside.take_while(|start| start.block() == block).count();
        let bits = cell_bits(inside);
        blocks.push(Block {
            first: cells.len() as u32,
            bits,
        });
        let end = next + inside;
        for cell in 0..1 << bits {
            cells.push(next as u32);
            while next < end && starts[next].cell(bits) == cell {
                next += 1;
            }
        }
    }
    cells.push(starts.len() as u32);
    (blocks, cells)
}

/// How many bits tell the cells of a block apart that has this many ranges.
fn cell_bits(ranges: usize) -> u32 {
    let cells = (ranges / RANGES_PER_CELL).max(1);
    cells.ilog2().min(MAX_CELL_BITS)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn country(code: &str) -> Country {
        Country::parse(code.as_bytes()).unwrap()
    }

    fn table(networks: &[(&str, u8, Option<&str>)]) -> FlatTable {
        let mut builder = FlatBuilder::default();
        for (first, prefix, code) in networks {
            builder.push(first.parse().unwrap(), *prefix, code.map(country));
        }
        builder.build()
    }

    fn at(table: &FlatTable, address: &str) -> Option<String> {
        let found = table.country(address.parse().unwrap());
        found.map(|country| country.to_string())
    }

    #[test]
    fn a_range_reaches_from_its_first_to_its_last_address() {
        let table = table(&[("5.0.0.0", 8, Some("DE")), ("2a00::", 12, Some("DE"))]);
        assert_eq!(at(&table, "4.255.255.255"), None);
        assert_eq!(at(&table, "5.0.0.0").as_deref(), Some("DE"));
        assert_eq!(at(&table, "5.255.255.255").as_deref(), Some("DE"));
        assert_eq!(at(&table, "6.0.0.0"), None);
        assert_eq!(at(&table, "29ff:ffff::ffff"), None);
        assert_eq!(at(&table, "2a0f:ffff::1").as_deref(), Some("DE"));
        assert_eq!(at(&table, "2a10::"), None);
    }

    #[test]
    fn ranges_smaller_than_a_block_are_told_apart() {
        let table = table(&[
            ("5.6.7.8", 32, Some("DE")),
            ("5.6.7.10", 32, Some("FR")),
            ("2a00:0:0:1::1", 128, Some("DE")),
            ("2a00:0:0:1::2", 128, Some("FR")),
        ]);
        assert_eq!(at(&table, "5.6.7.8").as_deref(), Some("DE"));
        assert_eq!(at(&table, "5.6.7.9"), None);
        assert_eq!(at(&table, "5.6.7.10").as_deref(), Some("FR"));
        assert_eq!(at(&table, "2a00:0:0:1::1").as_deref(), Some("DE"));
        assert_eq!(at(&table, "2a00:0:0:1::2").as_deref(), Some("FR"));
        assert_eq!(at(&table, "2a00:0:0:1::3"), None);
    }

    #[test]
    fn the_ends_of_the_address_space_are_covered() {
        let table = table(&[("0.0.0.0", 0, Some("DE")), ("::", 0, Some("DE"))]);
        assert_eq!(table.ranges(), (1, 1));
        for address in ["0.0.0.0", "255.255.255.255", "2000::", "3fff:ffff::ffff"] {
            assert_eq!(at(&table, address).as_deref(), Some("DE"), "{address}");
        }
        for address in ["::", "1fff::", "4000::", "ffff::"] {
            assert_eq!(at(&table, address), None, "{address}");
        }
    }

    #[test]
    fn neighbours_of_the_same_country_become_one_range() {
        let table = table(&[("5.0.0.0", 9, Some("DE")), ("5.128.0.0", 9, Some("DE"))]);
        assert_eq!(table.ranges().0, 3, "before, the range, after");
    }

    #[test]
    fn a_network_that_overlaps_an_earlier_one_is_left_out() {
        let table = table(&[("5.0.0.0", 8, Some("DE")), ("5.1.0.0", 16, Some("FR"))]);
        assert_eq!(at(&table, "5.1.0.1").as_deref(), Some("DE"));
    }

    #[test]
    fn a_crowded_block_is_told_apart_by_cells() {
        let codes = [Some("DE"), Some("FR"), None, Some("JP")];
        let mut builder = FlatBuilder::default();
        let mut expected = Vec::new();
        for number in 0..6000_u32 {
            let code = codes[number.wrapping_mul(2_654_435_761) as usize >> 20 & 3];
            let v4 = Ipv4Addr::from_bits(5 << 24 | number << 3);
            let v6 = Ipv6Addr::from_bits(0x2a00 << 112 | u128::from(number) << 91);
            builder.push(v4.into(), 29, code.map(country));
            builder.push(v6.into(), 37, code.map(country));
            let last_v4 = Ipv4Addr::from_bits(v4.to_bits() + 7);
            let last_v6 = Ipv6Addr::from_bits(v6.to_bits() + (1 << 91) - 1);
            for address in [v4.into(), last_v4.into(), v6.into(), last_v6.into()] {
                let address: IpAddr = address;
                expected.push((address, code));
            }
        }
        let table = builder.build();
        for (address, code) in expected {
            assert_eq!(
                at(&table, &address.to_string()).as_deref(),
                code,
                "{address}"
            );
        }
    }

    #[test]
    fn an_empty_table_knows_no_country() {
        let table = table(&[]);
        assert_eq!(at(&table, "5.0.0.1"), None);
        assert_eq!(at(&table, "2a00::1"), None);
    }
}
