//! All tests that need more than one module, in one binary: one link of the TLS stack for all.

#![allow(
    clippy::unwrap_used,
    reason = "functions that tests share are no tests to the lint, but fail like them"
)]

// No sockets.
mod docs;
mod events;
mod geo;
mod house;
mod viewer;

// One part over real sockets.
mod admin;
mod dns;
mod malformed_origin;
mod metrics;
mod probes;
mod reload;
mod tls;

// The whole program.
mod cli;
mod demo;
mod drain;
mod edge;
mod failback;
mod failover;
mod faults;
mod framing;
mod record;
mod reload_live;
mod request;
mod resume;
mod state;
mod upstream_tls;

#[path = "support/mmdb.rs"]
mod mmdb;
mod support;
