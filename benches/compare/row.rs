//! The rows: what kind of traffic each is.

use crate::origin::{LARGE_PATH, Speech};
use crate::proxy::Proxy;

/// How viewers reach the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Viewers {
    Plain,
    Tls,
}

/// What sends the requests.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// wrk: HTTP/1.1, each connection with one request at a time.
    Http1 {
        connections: u32,
        path: &'static str,
        /// Bytes that each request uploads; 0 is a GET.
        upload: usize,
        /// Whether each request has a connection of its own.
        closes: bool,
    },
    /// h2load: HTTP/2.
    Http2 { connections: u32, streams: u32 },
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// The word on the command line.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) viewers: Viewers,
    pub(crate) origins: Speech,
    pub(crate) load: Load,
    /// Whether the access log is on.
    pub(crate) is_logged: bool,
}

impl Row {
    /// Whether the proxy can do this at all.
    pub(crate) fn suits(&self, proxy: Proxy) -> bool {
        // nginx of this age speaks HTTP/1.1 to origins only.
        let speaks = !(self.origins == Speech::Http2 && proxy == Proxy::Nginx);
        // Of the others only nginx writes its log to a file by itself and as cheaply.
        speaks && (!self.is_logged || matches!(proxy, Proxy::Meridian | Proxy::Nginx))
    }
}

const fn get(connections: u32) -> Load {
    Load::Http1 {
        connections,
        path: "/",
        upload: 0,
        closes: false,
    }
}

/// Every row, in order.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "h1",
        title: "HTTP/1.1, 64 connections, 512 B",
        viewers: Viewers::Plain,
        origins: Speech::Plain,
        load: get(64),
        is_logged: false,
    },
    Row {
        name: "h1-log",
        title: "the same, with an access log",
        viewers: Viewers::Plain,
        origins: Speech::Plain,
        load: get(64),
        is_logged: true,
    },
    Row {
        name: "h1-tls",
        title: "HTTP/1.1 over TLS, 64 connections, 512 B",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: get(64),
        is_logged: false,
    },
    Row {
        name: "h2-tls",
        title: "HTTP/2 over TLS, 8 connections x 16 streams",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: Load::Http2 {
            connections: 8,
            streams: 16,
        },
        is_logged: false,
    },
    Row {
        name: "download",
        title: "1 MiB downloads over TLS",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: Load::Http1 {
            connections: 16,
            path: LARGE_PATH,
            upload: 0,
            closes: false,
        },
        is_logged: false,
    },
    Row {
        name: "upload",
        title: "64 KiB POST over TLS",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: Load::Http1 {
            connections: 32,
            path: "/",
            upload: 64 * 1024,
            closes: false,
        },
        is_logged: false,
    },
    Row {
        name: "connect",
        title: "a new TLS connection per request",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: Load::Http1 {
            connections: 16,
            path: "/",
            upload: 0,
            closes: true,
        },
        is_logged: false,
    },
    Row {
        name: "many",
        title: "1,000 TLS connections",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: get(1_000),
        is_logged: false,
    },
    Row {
        name: "origin-tls",
        title: "TLS from viewers and to origins",
        viewers: Viewers::Tls,
        origins: Speech::Tls,
        load: get(64),
        is_logged: false,
    },
    Row {
        name: "origin-h2",
        title: "HTTP/1.1 over TLS from viewers, HTTP/2 to origins",
        viewers: Viewers::Tls,
        origins: Speech::Http2,
        load: get(64),
        is_logged: false,
    },
    Row {
        name: "h2-one",
        title: "HTTP/2 over TLS, 100 streams on one connection",
        viewers: Viewers::Tls,
        origins: Speech::Plain,
        load: Load::Http2 {
            connections: 1,
            streams: 100,
        },
        is_logged: false,
    },
];

/// The row of this name.
pub(crate) fn named(name: &str) -> Option<Row> {
    ROWS.iter().copied().find(|row| row.name == name)
}
