//! What is told to the people who run it: metrics and logs.

pub mod access_log;
pub mod histogram;
mod json;
mod line;
pub mod logging;
pub mod metrics;
pub mod record;
