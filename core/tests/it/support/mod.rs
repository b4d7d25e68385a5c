//! What the tests share.

pub(crate) mod tables;
pub(crate) mod world;
