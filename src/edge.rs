//! The viewers' side: sockets, TLS, HTTP, and how connections end.

pub mod conn;
pub mod counters;
pub mod shutdown;
mod drive;
pub(crate) mod end;
pub(crate) mod gathered;
pub mod handshake;
mod http1;
mod http2;
pub(crate) mod listener;
pub(crate) mod proxy_header;
pub(crate) mod http2_streams;
pub mod idle_sweep;
mod stream_executor;
pub(crate) mod turn;
pub(crate) mod connection_watch;
pub mod watched_stream;
