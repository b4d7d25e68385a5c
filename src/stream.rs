//! Byte streams around byte streams, for either side of the proxy.

pub mod counted;
pub mod prefixed;
pub mod socket;
