//! What we believe of each endpoint, from what probes and requests saw: pure state.

pub mod failback;
pub mod fusion;
pub mod latency;
pub mod order;
pub mod schedule;
pub mod slots;
pub mod state;
pub mod traffic;
pub mod traffic_count;
