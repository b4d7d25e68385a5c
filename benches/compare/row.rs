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
    /// wrk: HTTP/1.1, each request to another of the routes.
    Routes { connections: u32 },
    /// h2load: HTTP/2.
    Http2 { connections: u32, streams: u32 },
    /// Our own: each stream of HTTP/2 sends a message when the last one has come back.
    Streams { connections: u32, streams: u32 },
    /// Our own: each connection is upgraded and does the same.
    WebSocket { connections: u32 },
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
    /// Routes by path; a single one takes all paths.
    pub(crate) routes: usize,
    /// Regions of each of Meridian's routes. The others have one origin and need no more.
    pub(crate) regions: usize,
}

impl Row {
    /// Whether the proxy can do this at all.
    pub(crate) fn suits(&self, proxy: Proxy) -> bool {
        // nginx of this age speaks HTTP/1.1 to origins only, but for gRPC.
        let is_grpc = matches!(self.load, Load::Streams { .. });
        let speaks = is_grpc || !(self.origins == Speech::Http2 && proxy == Proxy::Nginx);
        // Of the others only nginx writes its log to a file by itself and as cheaply.
        speaks && (!self.is_logged || matches!(proxy, Proxy::Meridian | Proxy::Nginx))
    }
}

/// What most rows have in common.
const PLAIN: Row = Row {
    name: "h1",
    title: "HTTP/1.1, 64 connections, 512 B",
    viewers: Viewers::Plain,
    origins: Speech::Plain,
    load: get(64),
    is_logged: false,
    routes: 1,
    regions: 2,
};

/// The same by TLS; studies have this load too.
pub(crate) const SECURE: Row = Row {
    name: "h1-tls",
    title: "HTTP/1.1 over TLS, 64 connections, 512 B",
    viewers: Viewers::Tls,
    ..PLAIN
};

/// As many routes as a large installation has.
pub(crate) const ROUTED: Row = Row {
    name: "routes",
    title: "HTTP/1.1, 10,000 routes (30 regions each)",
    load: Load::Routes { connections: 64 },
    routes: 10_000,
    regions: 30,
    ..PLAIN
};

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
    PLAIN,
    Row {
        name: "h1-log",
        title: "the same, with an access log",
        is_logged: true,
        ..PLAIN
    },
    ROUTED,
    SECURE,
    Row {
        name: "h2-tls",
        title: "HTTP/2 over TLS, 8 connections x 16 streams",
        load: Load::Http2 {
            connections: 8,
            streams: 16,
        },
        ..SECURE
    },
    Row {
        name: "download",
        title: "1 MiB downloads over TLS",
        load: Load::Http1 {
            connections: 16,
            path: LARGE_PATH,
            upload: 0,
            closes: false,
        },
        ..SECURE
    },
    Row {
        name: "upload",
        title: "64 KiB POST over TLS",
        load: Load::Http1 {
            connections: 32,
            path: "/",
            upload: 64 * 1024,
            closes: false,
        },
        ..SECURE
    },
    Row {
        name: "connect",
        title: "a new TLS connection per request",
        load: Load::Http1 {
            connections: 16,
            path: "/",
            upload: 0,
            closes: true,
        },
        ..SECURE
    },
    Row {
        name: "many",
        title: "1,000 TLS connections",
        load: get(1_000),
        ..SECURE
    },
    Row {
        name: "origin-tls",
        title: "TLS from viewers and to origins",
        origins: Speech::Tls,
        ..SECURE
    },
    Row {
        name: "origin-h2",
        title: "HTTP/1.1 over TLS from viewers, HTTP/2 to origins",
        origins: Speech::Http2,
        ..SECURE
    },
    Row {
        name: "h2-one",
        title: "HTTP/2 over TLS, 100 streams on one connection",
        load: Load::Http2 {
            connections: 1,
            streams: 100,
        },
        ..SECURE
    },
    Row {
        name: "streams",
        title: "100 B messages on 4 x 32 HTTP/2 streams, each message",
        origins: Speech::Http2,
        load: Load::Streams {
            connections: 4,
            streams: 32,
        },
        ..SECURE
    },
    Row {
        name: "websocket",
        title: "128 B messages on 64 WebSockets, each message",
        load: Load::WebSocket { connections: 64 },
        ..PLAIN
    },
];

/// The row of this name.
pub(crate) fn named(name: &str) -> Option<Row> {
    ROWS.iter().copied().find(|row| row.name == name)
}
