//! A good answer, as far as evidence goes.

use std::time::Duration;

/// A good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long after the request was sent it began.
    pub first_byte: Duration,
    /// Whether its body is here to the last byte.
    pub whole: bool,
    /// Whether another attempt ran beside it, which it beat.
    pub raced: bool,
}
