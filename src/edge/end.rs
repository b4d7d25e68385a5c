//! How a viewer's connection ends.

use std::error::Error;

/// How a viewer's connection ended; a closed set, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConnectionEnd {
    /// As HTTP means it to: either side said it was the last request.
    Finished,
    /// The viewer reset it, left in the middle, or answered no ping.
    ViewerGone,
    /// No request within `idle` after the last.
    Idle,
    /// A request head was begun, or awaited on a new connection, and not there within `head`.
    HeadTimeout,
    /// The viewer took no byte of a response within `body_progress`.
    WriteStalled,
    /// The head is no HTTP; answered with 400. One that is framed in two ways is read as chunked, and
    /// its connection is closed after it (RFC 9112 section 6.3).
    BadRequest,
    /// The head is larger or has more fields than `limits` allow; answered with 431.
    HeadTooLarge,
    /// The viewer broke HTTP/2's rules, or reset streams in a flood.
    Http2Error,
    /// A response body failed, so the transfer was broken off.
    ResponseBroken,
    /// It was shut because the process or its listener goes away.
    Drained,
}

impl ConnectionEnd {
    /// Every end, in the order of [`Self::index`].
    pub const ALL: [Self; 10] = [
        Self::Finished,
        Self::ViewerGone,
        Self::Idle,
        Self::HeadTimeout,
        Self::WriteStalled,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::Http2Error,
        Self::ResponseBroken,
        Self::Drained,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The end as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ViewerGone => "viewer_gone",
            Self::Idle => "idle",
            Self::HeadTimeout => "head_timeout",
            Self::WriteStalled => "write_stalled",
            Self::BadRequest => "bad_request",
            Self::HeadTooLarge => "head_too_large",
            Self::Http2Error => "http2_error",
            Self::ResponseBroken => "response_broken",
            Self::Drained => "drained",
        }
    }

    /// What hyper's `error` on a server connection means.
    #[must_use]
    pub fn of(error: &hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::BadRequest
        } else if error.is_user() || error.is_body_write_aborted() {
            Self::ResponseBroken
        } else if http2_misuse(error) {
            Self::Http2Error
        } else {
            // A reset, an end in mid-message, or a ping that nobody answered.
            Self::ViewerGone
        }
    }
}

fn http2_misuse(error: &hyper::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason)
        .is_some_and(|reason| reason != h2::Reason::NO_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_own_place_and_label() {
        for (index, end) in ConnectionEnd::ALL.into_iter().enumerate() {
            assert_eq!(end.index(), index);
            let same = ConnectionEnd::ALL
                .into_iter()
                .filter(|e| e.label() == end.label());
            assert_eq!(same.count(), 1);
        }
    }
}
