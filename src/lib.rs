//! Meridian: an edge-side multi-region routing proxy.
//!
//! A pure core, the package `meridian-core`, holds what we believe and what we choose; this is the
//! thin async shell that moves bytes, runs probes and keeps time.
//! `ARCHITECTURE.md` has the map.
//!
//! Public is what the tests and the benches name, so that the compiler sees what nobody uses.

#![allow(
    unreachable_pub,
    reason = "most modules are private; `pub` says what is for use outside of a module"
)]

// The life of a request: a connection, a worker, the path through the proxy, an origin.
pub mod edge;
mod worker;
pub mod proxy;
pub mod upstream;
mod stream;

// What is believed, and what keeps it true.
pub mod board;
pub mod resources;
pub mod geo;
pub mod load;
pub mod probe;
pub mod reload;
mod state;

// The people who run it.
pub mod admin;
pub mod app;
pub mod cli;
mod ciphers;
pub mod clock;
pub mod demo;
mod descriptors;
mod executor;
pub mod telemetry;
