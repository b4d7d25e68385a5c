//! From text to a [`Config`]: every problem at once, each with its place.
//!
//! A file is read as a tree with places, the tree as sections that serde derives, and each section
//! checks itself. A section's file holds all there is about it: its keys with their types and
//! descriptions, what must agree, and the checked configuration with its defaults. The schema and
//! the reference are made from the same descriptions.

mod access_log;
mod admin;
mod context;
mod country;
mod default;
mod deserializer;
mod dns;
mod drain;
mod effective;
mod expand;
mod failback;
mod fault;
mod field;
mod hedge;
mod limits;
mod listener;
mod load;
mod outlier_detection;
mod probation;
mod probe;
pub mod problem;
pub mod problems;
mod quantity;
mod reference;
mod region;
mod region_names;
mod render;
mod retry;
mod root;
mod route;
mod scalar;
mod schema;
mod secret;
mod source;
mod state;
mod timeouts;
mod tree;
mod value;
mod viewer;

pub use access_log::AccessLogConfig;
pub use admin::AdminConfig;
pub use dns::DnsConfig;
pub use drain::DrainConfig;
pub use effective::effective;
pub use limits::LimitsConfig;
pub use listener::{CertificateFiles, ListenerConfig, TlsConfig};
pub use load::load;
pub use reference::reference;
pub use root::Config;
pub use schema::schema;
pub use secret::Secret;
pub use source::{Reader, SourceText};
pub use state::StateConfig;
pub use timeouts::DownstreamTimeouts;
pub use value::duration;
pub use viewer::ViewerConfig;

pub use crate::table::failback::{FailbackConfig, FailbackMode};
