//! The viewers' side: sockets, TLS, HTTP, and how connections end.

pub mod conn;
pub mod counters;
pub mod shutdown;
mod drive;
pub mod end;
pub mod gathered;
pub mod handshake;
mod http1;
mod http2;
pub mod listener;
pub mod proxy_header;
pub mod http2_streams;
pub mod idle_sweep;
mod stream_executor;
pub mod turn;
pub mod connection_watch;
pub mod watched_stream;
