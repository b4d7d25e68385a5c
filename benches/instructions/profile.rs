//! What callgrind wrote: instructions, and who called for memory.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

/// The functions that give memory, those of mimalloc and those of C's library.
const ALLOCATORS: [&str; 13] = [
    "mi_malloc",
    "mi_malloc_aligned",
    "mi_zalloc",
    "mi_zalloc_aligned",
    "mi_calloc",
    "mi_realloc",
    "mi_realloc_aligned",
    "malloc",
    "calloc",
    "realloc",
    "aligned_alloc",
    "memalign",
    "posix_memalign",
];

/// What one thread did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    pub(crate) instructions: u64,
    /// How often each function asked for memory, reallocations included.
    pub(crate) allocations: BTreeMap<String, u64>,
}

impl Profile {
    /// Reads a file of callgrind's.
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        Self::parse(&fs::read_to_string(file)?)
    }

    /// The format is described in valgrind's manual, "Callgrind Format Specification".
    fn parse(text: &str) -> io::Result<Self> {
        let mut profile = Self::default();
        let mut names: HashMap<&str, &str> = HashMap::new();
        let (mut caller, mut callee) = ("", "");
        for line in text.lines() {
            if let Some(number) = line.strip_prefix("totals:") {
                profile.instructions = number.trim().parse().map_err(io::Error::other)?;
            } else if let Some(function) = line.strip_prefix("fn=") {
                caller = named(function, &mut names);
            } else if let Some(function) = line.strip_prefix("cfn=") {
                callee = named(function, &mut names);
            } else if let Some(calls) = line.strip_prefix("calls=")
                && ALLOCATORS.contains(&callee)
                && !is_allocator(caller)
            {
                let calls = calls.split(' ').next().unwrap_or(calls);
                let calls: u64 = calls.parse().map_err(io::Error::other)?;
                *profile.allocations.entry(caller.to_owned()).or_default() += calls;
            }
        }
        Ok(profile)
    }

    /// How often memory was asked for.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocations.values().sum()
    }
}

/// A name stands once, behind its number; then only the number does.
fn named<'a>(written: &'a str, names: &mut HashMap<&'a str, &'a str>) -> &'a str {
    let Some((number, name)) = written.split_once(' ') else {
        return names.get(written).copied().unwrap_or(written);
    };
    // Behind an apostrophe is the depth of a recursion.
    let name = match name.rsplit_once('\'') {
        Some((name, depth)) if depth.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    };
    names.insert(number, name);
    name
}

/// Whether a call from there is the allocator's own affair.
fn is_allocator(function: &str) -> bool {
    function.starts_with("mi_") || function.starts_with("_mi_") || ALLOCATORS.contains(&function)
}
