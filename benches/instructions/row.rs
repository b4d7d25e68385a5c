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
}

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
pub(crate) const ROWS: [Row; 6] = [
    Row {
        name: "decide",
        work: Work::Decide,
    },
    proxy("h1", Speech::Http1, 1, 0),
    proxy("h1-tls", Speech::Http1Tls, 1, 0),
    proxy("h2-tls", Speech::Http2Tls, 1, 0),
    proxy("h2-tls-8", Speech::Http2Tls, 8, 0),
    proxy("post-tls", Speech::Http1Tls, 1, UPLOAD),
];

const fn proxy(name: &'static str, speech: Speech, streams: usize, upload: usize) -> Row {
    Row {
        name,
        work: Work::Proxy(Load {
            speech,
            streams,
            upload,
        }),
    }
}

/// The row of that name.
pub(crate) fn named(name: &str) -> Option<Row> {
    ROWS.into_iter().find(|row| row.name == name)
}
