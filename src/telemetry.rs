//! What is told to the people who run it: metrics and logs.

pub(crate) mod access_log;
pub(crate) mod histogram;
mod json;

pub(crate) mod logging;
pub mod metrics;
pub(crate) mod record;
