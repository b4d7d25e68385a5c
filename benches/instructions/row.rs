//! What is counted.

/// Bytes that a row uploads when it does.
const UPLOAD: usize = 64 * 1024;

/// What one line of the table sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The word on the command line and in the baseline.
    pub(crate) name: &'static str,
    pub(crate) work: Work,
}

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A decision alone.
    Decide,
    /// A request through the whole proxy.
    Proxy(Load),
}

/// One connection to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) speech: Speech,
    /// Requests that are under way at once.
    pub(crate) streams: usize,
    /// Bytes of each request's body; a GET without.
    pub(crate) upload: usize,
    /// Whether each request leaves a line in the access log.
    pub(crate) is_logged: bool,
    /// Whether the viewer's word on where it is counts, as that of a CDN does.
    pub(crate) is_trusted: bool,
}

/// One request at a time, from a peer that is trusted.
const PLAIN: Load = Load {
    speech: Speech::Http1,
    streams: 1,
    upload: 0,
    is_logged: false,
    is_trusted: true,
};

/// How the viewer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Http1,
    Http1Tls,
    Http2Tls,
}

impl Speech {
    /// Whether it is encrypted.
    pub(crate) fn is_tls(self) -> bool {
        self != Self::Http1
    }
}

/// Every row, in order.
pub(crate) const ROWS: [Row; 8] = [
    Row {
        name: "decide",
        work: Work::Decide,
    },
    proxy("h1", PLAIN),
    proxy(
        "h1-log",
        Load {
            is_logged: true,
            ..PLAIN
        },
    ),
    proxy(
        "h1-direct",
        Load {
            is_trusted: false,
            ..PLAIN
        },
    ),
    proxy("h1-tls", over(Speech::Http1Tls)),
    proxy("h2-tls", over(Speech::Http2Tls)),
    proxy(
        "h2-tls-8",
        Load {
            streams: 8,
            ..over(Speech::Http2Tls)
        },
    ),
    proxy(
        "post-tls",
        Load {
            upload: UPLOAD,
            ..over(Speech::Http1Tls)
        },
    ),
];

const fn proxy(name: &'static str, load: Load) -> Row {
    Row {
        name,
        work: Work::Proxy(load),
    }
}

const fn over(speech: Speech) -> Load {
    Load { speech, ..PLAIN }
}

/// The row of that name.
pub(crate) fn named(name: &str) -> Option<Row> {
    ROWS.into_iter().find(|row| row.name == name)
}
