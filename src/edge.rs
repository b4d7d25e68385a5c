//! The viewers' side: sockets, TLS, HTTP, and how connections end.

pub mod conn;
pub mod counters;
pub mod door;
pub mod end;
pub mod gathered;
pub mod handshake;
pub mod listener;
pub mod prefixed;
pub mod proxy_header;
pub mod streams;
pub mod turn;
pub mod watched;
