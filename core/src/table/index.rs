//! Finds a route by host and path.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::model::id::RouteId;
use crate::table::route::{HostPattern, Route};

/// Routes by host, and under each host by path prefix.
///
/// The maps are only ever looked up in, and hold what the operator wrote: their order never
/// shows, and no viewer can fill them.
#[derive(Debug, Default)]
pub struct RouteIndex {
    exact: HashMap<Box<str>, PrefixIndex, FixedState>,
    suffixes: HashMap<Box<str>, PrefixIndex, FixedState>,
    /// The longest suffix in bytes: a host of a thousand labels costs no thousand look-ups.
    longest_suffix: usize,
    any: PrefixIndex,
}

impl RouteIndex {
    /// Indexes `routes`; of two with the same host and path the first wins.
    #[must_use]
    pub fn new(routes: &[Route]) -> Self {
        let mut exact: HashMap<&str, Vec<Prefix<'_>>, FixedState> = HashMap::default();
        let mut suffixes: HashMap<&str, Vec<Prefix<'_>>, FixedState> = HashMap::default();
        let mut any = Vec::new();
        for (position, route) in (0..).zip(routes) {
            let prefixes = match &route.host {
                HostPattern::Exact(name) => exact.entry(name).or_default(),
                HostPattern::Suffix(name) => suffixes.entry(name).or_default(),
                HostPattern::Any => &mut any,
            };
            prefixes.push((route.path.as_bytes(), RouteId(position)));
        }
        let longest_suffix = suffixes.keys().map(|name| name.len()).max().unwrap_or(0);
        Self {
            exact: compile(exact),
            suffixes: compile(suffixes),
            longest_suffix,
            any: PrefixIndex::new(any),
        }
    }

    /// The most specific host (exact, then the longest suffix, then any) that has a path prefix
    /// matching; within it the longest prefix.
    ///
    /// A prefix is one of the text, as nginx, HAProxy and Envoy mean it: `/v1` takes `/v1x`.
    /// `host` may have a port, final dots and any case.
    #[must_use]
    pub fn find(&self, host: Option<&str>, path: &str) -> Option<RouteId> {
        let path = path.as_bytes();
        if let Some(host) = host
            && !(self.exact.is_empty() && self.suffixes.is_empty())
        {
            let name = host_name(host);
            let found = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                with_lower_case(name, |name| self.find_by_name(name, path))
            } else {
                self.find_by_name(name, path)
            };
            if found.is_some() {
                return found;
            }
        }
        self.any.find(path)
    }

    fn find_by_name(&self, name: &str, path: &[u8]) -> Option<RouteId> {
        let exact = self.exact.get(name).and_then(|p| p.find(path));
        exact.or_else(|| self.find_by_suffix(name, path))
    }

    fn find_by_suffix(&self, name: &str, path: &[u8]) -> Option<RouteId> {
        // One byte more than the suffix: the dot before it.
        let mut from = name.len().saturating_sub(self.longest_suffix + 1);
        if self.suffixes.is_empty() {
            return None;
        }
        while let Some(dot) = name.as_bytes()[from..].iter().position(|b| *b == b'.') {
            from += dot + 1;
            // A wildcard stands for something: `.example.com` alone is no host under it.
            let suffix = name.get(from..).filter(|_| from > 1);
            let prefixes = suffix.and_then(|suffix| self.suffixes.get(suffix));
            if let Some(route) = prefixes.and_then(|prefixes| prefixes.find(path)) {
                return Some(route);
            }
        }
        None
    }
}

fn compile(
    hosts: HashMap<&str, Vec<Prefix<'_>>, FixedState>,
) -> HashMap<Box<str>, PrefixIndex, FixedState> {
    hosts
        .into_iter()
        .map(|(name, prefixes)| (name.into(), PrefixIndex::new(prefixes)))
        .collect()
}

/// The name in a `Host`, in its own case: without port and final dots, IPv6 addresses with
/// brackets.
fn host_name(host: &str) -> &str {
    let name = match host.find(']') {
        Some(bracket) if host.starts_with('[') => &host[..=bracket],
        _ => host.split_once(':').map_or(host, |(name, _)| name),
    };
    // One final dot is the root; resolvers and servers differ in what they make of more.
    name.trim_end_matches('.')
}

/// What `find` says of `name` in lower case. Nothing is allocated for a name that DNS could
/// have (RFC 1035 section 2.3.4: 255 octets).
fn with_lower_case<T>(name: &str, find: impl FnOnce(&str) -> T) -> T {
    let mut buffer = [0; 255];
    if let Some(lower) = buffer.get_mut(..name.len()) {
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        if let Ok(lower) = std::str::from_utf8(lower) {
            return find(lower);
        }
    }
    find(&name.to_ascii_lowercase())
}

/// A path prefix and the route that has it.
type Prefix<'a> = (&'a [u8], RouteId);

/// The longest prefix by binary search over the *lengths* that occur (Waldvogel, Varghese,
/// Turner and Plattner, "Scalable High Speed IP Routing Lookups", 1997).
///
/// Every prefix leaves a marker at each shorter length the search visits on its way to it, so
/// that a hit means "go longer" and a miss "go shorter". With 10,000 prefixes of 20 lengths
/// that is five look-ups in a hash map, where a binary search over the prefixes takes fourteen
/// comparisons, each of them likely to miss the cache.
#[derive(Debug, Default)]
struct PrefixIndex {
    /// The lengths that occur, ascending.
    lengths: Box<[usize]>,
    /// Prefixes and markers, each with the route of the longest prefix of it.
    marks: HashMap<Box<[u8]>, Option<RouteId>, FixedState>,
}

impl PrefixIndex {
    fn new(prefixes: Vec<Prefix<'_>>) -> Self {
        let mut routes: HashMap<&[u8], RouteId, FixedState> = HashMap::default();
        for (prefix, route) in prefixes {
            routes.entry(prefix).or_insert(route);
        }
        let mut lengths: Vec<usize> = routes.keys().map(|prefix| prefix.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut marks = HashMap::default();
        for prefix in routes.keys() {
            let (mut low, mut high) = (0, lengths.len());
            while low < high {
                let middle = low.midpoint(high);
                let length = lengths[middle];
                if length > prefix.len() {
                    high = middle;
                    continue;
                }
                let mark = &prefix[..length];
                if !marks.contains_key(mark) {
                    marks.insert(
                        mark.into(),
                        longest_prefix(&routes, &lengths[..=middle], mark),
                    );
                }
                low = middle + 1;
            }
        }
        Self {
            lengths: lengths.into(),
            marks,
        }
    }

    fn find(&self, path: &[u8]) -> Option<RouteId> {
        let (mut low, mut high) = (0, self.lengths.len());
        let mut best = None;
        while low < high {
            let middle = low.midpoint(high);
            let beginning = path.get(..self.lengths[middle]);
            match beginning.and_then(|beginning| self.marks.get(beginning)) {
                Some(route) => {
                    best = *route;
                    low = middle + 1;
                }
                None => high = middle,
            }
        }
        best
    }
}

/// The route of the longest of `routes` that `text` begins with, trying `lengths` from the end.
fn longest_prefix(
    routes: &HashMap<&[u8], RouteId, FixedState>,
    lengths: &[usize],
    text: &[u8],
) -> Option<RouteId> {
    lengths
        .iter()
        .rev()
        .find_map(|length| routes.get(&text[..*length]).copied())
}
