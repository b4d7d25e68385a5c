//! Byte streams around byte streams, for either side of the proxy.

pub(crate) mod counted;
pub(crate) mod prefixed;
pub(crate) mod socket;
