//! The viewers' side: sockets, TLS, HTTP, and how connections end.

pub mod conn;
pub mod counters;
pub mod shutdown;
mod drive;
pub(crate) mod end;
pub(crate) mod coalesced_writes;
pub mod handshake;
mod http1;
mod http2;
pub(crate) mod listener;
pub(crate) mod proxy_header;
pub(crate) mod http2_streams;
pub mod connection_registry;
mod stream_executor;
pub(crate) mod coalesce_delay;
pub(crate) mod connection_timeouts;
pub mod watched_stream;
