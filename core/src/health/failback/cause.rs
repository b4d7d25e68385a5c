//! Why a region's return went a step on, or was broken off.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::seconds;

/// Why a [`Stage`](super::Stage) changed. As text it is a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum FailbackCause {
    /// The operator wants it to serve.
    Forced,
    /// It is not well.
    Fell,
    /// It fell with all others, which was most likely no fault of its own.
    Excused,
    /// There is nothing to return to.
    FirstService,
    /// It is well again, and must stay so for a while.
    HoldDown {
        /// For how long.
        #[serde(rename = "left_seconds", with = "seconds")]
        left: Duration,
    },
    /// It is well again, and an operator has to agree.
    AwaitsOperator,
    /// It stayed well for long enough.
    HoldDownEnded,
    /// It did well with the share it had.
    RampStep {
        /// Percent of the viewers that it takes now.
        #[serde(rename = "share_percent")]
        share: u8,
    },
    /// So many of its endpoints are well that they can carry a part of the share it would have.
    FewEndpoints {
        /// Percent of the viewers that it takes now.
        #[serde(rename = "share_percent")]
        share: u8,
    },
    /// It did well with the last share.
    RampEnded,
}

impl fmt::Display for FailbackCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forced => "the operator wants it to serve",
            Self::Fell => "it fell",
            Self::Excused => "it fell together with all others, so it returns at once",
            Self::FirstService => "it serves for the first time",
            Self::HoldDown { left } => {
                return write!(f, "it is well again, and has to stay so for {left:?}");
            }
            Self::AwaitsOperator => "it is well again, and waits for an operator",
            Self::HoldDownEnded => "it stayed well until the end of the hold-down",
            Self::RampStep { share } => {
                return write!(f, "it did well, and takes {share} % of the viewers now");
            }
            Self::FewEndpoints { share } => {
                let what = "some of its endpoints are well, and can carry";
                return write!(f, "{what} {share} % of the viewers");
            }
            Self::RampEnded => "the ramp is over",
        })
    }
}
