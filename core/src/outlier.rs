//! Outlier detection: what the live requests of one worker prove of endpoints and regions.
//!
//! The detector takes in what became of each attempt and gives the events that the board must hear:
//! at once what ejects or calls for a probe, once a second the counts that `apply` compares with those
//! of other regions.

mod answer;
mod detector;
mod route_stats;
mod streak;

pub use answer::Answer;
pub use detector::OutlierDetector;
pub use route_stats::{FailureVerdict, RouteRegion};
