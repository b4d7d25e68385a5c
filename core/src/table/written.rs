//! Places in the configuration, for people who look for what decided.

/// Where in the configuration something was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Written {
    /// Index into [`RoutingTable::files`](crate::table::RoutingTable::files).
    pub file: u16,
    /// Line, from 1; 0 where nothing was written (a default).
    pub line: u32,
}
