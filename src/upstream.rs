//! The origins' side: names to addresses, dialling, TLS, pooled connections.

pub(crate) mod added_headers;
pub(crate) mod answer;
pub(crate) mod body;
pub mod connect;
pub(crate) mod exchange;
pub(crate) mod framing;
pub(crate) mod handshake;
pub(crate) mod http1;
pub(crate) mod pool;
pub(crate) mod read_allowance;
pub(crate) mod replay_memory;
pub(crate) mod stall;
pub(crate) mod stream_token;
pub mod dns;
pub(crate) mod tls;
pub(crate) mod trailers;
