//! The core as a whole: what it refuses to read, what it decides, and what it makes of hours of events.

#![allow(
    clippy::unwrap_used,
    reason = "functions that tests share are no tests to the lint, but fail like them"
)]

mod config;
mod decide_properties;
mod golden;
mod restart;
mod retry_table;
mod shares;
mod simulation;

mod support;
