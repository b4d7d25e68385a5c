//! The origins' side: names to addresses, dialling, TLS, pooled connections.

pub mod added;
pub mod answer;
pub mod body;
pub mod connect;
pub mod exchange;
pub mod framing;
pub mod handshake;
pub mod http1;
pub mod pool;
pub mod read_allowance;
pub mod replay_memory;
pub mod stall;
pub mod dns;
pub mod tls;
pub mod trailers;
