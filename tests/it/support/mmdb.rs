//! Writes small MMDB files, sound ones and, node by node, unsound ones.
//!
//! The format: a search tree over the bits of addresses, 16 zero bytes, the records, a marker, and
//! a map that describes it all.

#![allow(
    dead_code,
    reason = "tests and benches share this file, and each uses a part of it"
)]

use std::net::IpAddr;

/// A value of the data section.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    U16(u16),
    U32(u32),
    U64(u64),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Value {
    pub(crate) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(crate) fn map(entries: &[(&str, Self)]) -> Self {
        let entries = entries.iter();
        Self::Map(
            entries
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        )
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => {
                control(2, text.len(), out);
                out.extend_from_slice(text.as_bytes());
            }
            Self::U16(number) => unsigned(5, &number.to_be_bytes(), out),
            Self::U32(number) => unsigned(6, &number.to_be_bytes(), out),
            Self::U64(number) => unsigned(9, &number.to_be_bytes(), out),
            Self::List(values) => {
                control(11, values.len(), out);
                for value in values {
                    value.encode(out);
                }
            }
            Self::Map(entries) => {
                control(7, entries.len(), out);
                for (key, value) in entries {
                    Self::text(key).encode(out);
                    value.encode(out);
                }
            }
        }
    }
}

/// The type and size of a value; types above 7 are written as type 0 and a second byte.
fn control(kind: u8, size: usize, out: &mut Vec<u8>) {
    let (low, rest) = match size {
        0..=28 => (size as u8, None),
        29..=284 => (29, Some((size - 29) as u8)),
        _ => panic!("a size of {size} is more than tests need"),
    };
    if kind <= 7 {
        out.push(kind << 5 | low);
    } else {
        out.extend_from_slice(&[low, kind - 7]);
    }
    out.extend(rest);
}

/// Numbers are written without leading zero bytes.
fn unsigned(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    control(kind, bytes.len() - zeros, out);
    out.extend_from_slice(&bytes[zeros..]);
}

/// One of a node's two branches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Branch {
    Empty,
    Node(usize),
    Record(usize),
}

/// A database to be.
#[derive(Clone, Debug)]
pub(crate) struct MmdbWriter {
    pub(crate) kind: String,
    /// 4 or 6.
    pub(crate) ip_version: u16,
    /// Bits of a branch: 24, 28 or 32.
    pub(crate) record_bits: u16,
    /// Since 1970-01-01 UTC, in seconds.
    pub(crate) built: u64,
    pub(crate) nodes: Vec<[Branch; 2]>,
    pub(crate) records: Vec<Value>,
}

impl MmdbWriter {
    /// A database without networks, of branches of 24 bits.
    pub(crate) fn new(kind: &str, ip_version: u16) -> Self {
        Self {
            kind: kind.to_owned(),
            ip_version,
            record_bits: 24,
            built: 1_790_000_000,
            nodes: vec![[Branch::Empty; 2]],
            records: Vec::new(),
        }
    }

    /// Adds a record and gives its number.
    pub(crate) fn record(&mut self, value: Value) -> usize {
        self.records.push(value);
        self.records.len() - 1
    }

    /// Answers `record` for `network`, such as `5.6.0.0/16`; the more specific network comes
    /// later. IPv4 goes below `::/96` in a database of IPv6.
    pub(crate) fn network(&mut self, network: &str, record: usize) {
        let (first, prefix) = network.split_once('/').expect("a network has a prefix");
        let first = first.parse().expect("an address");
        self.insert(first, prefix.parse().expect("a prefix"), record);
    }

    pub(crate) fn insert(&mut self, first: IpAddr, prefix: u8, record: usize) {
        let (bits, length) = self.path(first, prefix);
        *self.branch(bits, length) = Branch::Record(record);
    }

    /// Repeats the IPv4 part where the format asks for it.
    pub(crate) fn alias_ipv4(&mut self) {
        let ipv4 = *self.branch(0, 96);
        for (alias, length) in [("::ffff:0:0", 96), ("2001::", 32), ("2002::", 16)] {
            let (bits, length) = self.path(alias.parse().expect("an address"), length);
            *self.branch(bits, length) = ipv4;
        }
    }

    /// The bits to walk, left-aligned, and how many.
    fn path(&self, first: IpAddr, prefix: u8) -> (u128, u8) {
        match (first, self.ip_version) {
            (IpAddr::V4(v4), 4) => (u128::from(v4.to_bits()) << 96, prefix),
            (IpAddr::V4(v4), _) => (u128::from(v4.to_bits()), 96 + prefix),
            (IpAddr::V6(v6), _) => (v6.to_bits(), prefix),
        }
    }

    /// The branch at the end of a path, with nodes on the way to it.
    fn branch(&mut self, bits: u128, length: u8) -> &mut Branch {
        let mut node = 0;
        for depth in 0..length - 1 {
            let side = side(bits, depth);
            node = match self.nodes[node][side] {
                Branch::Node(next) => next,
                whole => {
                    self.nodes.push([whole; 2]);
                    let next = self.nodes.len() - 1;
                    self.nodes[node][side] = Branch::Node(next);
                    next
                }
            };
        }
        &mut self.nodes[node][side(bits, length - 1)]
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        let mut offsets = Vec::new();
        for record in &self.records {
            offsets.push(data.len());
            record.encode(&mut data);
        }
        let number = |branch: Branch| match branch {
            Branch::Empty => self.nodes.len() as u32,
            Branch::Node(node) => node as u32,
            Branch::Record(record) => (self.nodes.len() + 16 + offsets[record]) as u32,
        };
        let mut out = Vec::new();
        for [left, right] in &self.nodes {
            self.encode_node(number(*left), number(*right), &mut out);
        }
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&data);
        out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
        self.metadata().encode(&mut out);
        out
    }

    fn encode_node(&self, left: u32, right: u32, out: &mut Vec<u8>) {
        let ([l0, l1, l2, l3], [r0, r1, r2, r3]) = (left.to_be_bytes(), right.to_be_bytes());
        match self.record_bits {
            24 => out.extend_from_slice(&[l1, l2, l3, r1, r2, r3]),
            28 => out.extend_from_slice(&[l1, l2, l3, l0 << 4 | r0, r1, r2, r3]),
            _ => out.extend_from_slice(&[l0, l1, l2, l3, r0, r1, r2, r3]),
        }
    }

    fn metadata(&self) -> Value {
        let description = Value::map(&[("en", Value::text("made by a test"))]);
        Value::map(&[
            ("binary_format_major_version", Value::U16(2)),
            ("binary_format_minor_version", Value::U16(0)),
            ("build_epoch", Value::U64(self.built)),
            ("database_type", Value::text(&self.kind)),
            ("description", description),
            ("ip_version", Value::U16(self.ip_version)),
            ("languages", Value::List(vec![Value::text("en")])),
            ("node_count", Value::U32(self.nodes.len() as u32)),
            ("record_size", Value::U16(self.record_bits)),
        ])
    }
}

/// Which branch the bit at `depth` takes.
fn side(bits: u128, depth: u8) -> usize {
    (bits >> (127 - depth) & 1) as usize
}
