//! What we believe of each endpoint, from what probes and requests saw: pure state.

pub mod availability;
pub mod failback;
pub mod breadth;
pub mod endpoint_marks;
pub mod live_comparison;
pub mod latency;
pub mod order;
pub mod schedule;
pub mod slots;
pub mod rise_fall;
pub mod traffic;
pub mod traffic_count;
