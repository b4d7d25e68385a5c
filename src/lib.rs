//! Meridian: an edge-side multi-region routing proxy.
//!
//! A pure core, the package `meridian-core`, holds what we believe and what we choose; this is the
//! thin async shell that moves bytes, runs probes and keeps time.
//! `ARCHITECTURE.md` has the map.

// The life of a request: a connection, a worker, the path through the proxy, an origin.
pub mod edge;
pub mod worker;
pub mod proxy;
pub mod upstream;
pub mod stream;

// What is believed, and what keeps it true.
pub mod board;
pub mod resources;
pub mod geo;
pub mod load;
pub mod probe;
pub mod reload;
pub mod state;

// The people who run it.
pub mod admin;
pub mod app;
pub mod cli;
pub mod ciphers;
pub mod clock;
pub mod demo;
pub mod descriptors;
pub mod executor;
pub mod telemetry;
