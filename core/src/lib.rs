//! What Meridian believes and what it chooses: plain functions over plain data.
//!
//! [`apply::apply`] takes what is believed and one event, and gives what is believed then;
//! [`decide::decide`] takes what is believed and one request, and gives its regions, best first.
//! Time comes in as an argument. There is no runtime, socket, clock, file or log here: the packages
//! that have them are not among this one's.

pub mod apply;
pub mod change;
pub mod config;
pub mod decide;
pub mod health;
pub mod hedge_delay;
pub mod model;
pub mod outlier;
pub mod table;
