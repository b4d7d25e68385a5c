//! What the tests share: a proxy in this process, origins that misbehave on demand, a client.

pub(crate) mod authority;
pub(crate) mod blackhole;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod edge;
pub(crate) mod film;
pub(crate) mod http2;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod origin;
pub(crate) mod regions;

pub(crate) mod dns;
pub(crate) mod resources;

#[path = "../../../core/tests/it/support/tables.rs"]
pub(crate) mod tables;
#[path = "../../../core/tests/it/support/world.rs"]
pub(crate) mod world;
