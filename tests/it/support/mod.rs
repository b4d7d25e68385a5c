//! What the tests share: a proxy in this process, origins that misbehave on demand, a client.

pub(crate) mod authority;
pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod film;
pub(crate) mod origin;

pub(crate) mod dns;
pub(crate) mod fittings;
pub(crate) mod world;
