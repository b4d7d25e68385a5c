//! `meridian schema`: the configuration's JSON schema.

use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;
use meridian_core::config;

pub(crate) fn run(terminal: &Terminal) -> Result<(), Failure> {
    terminal.json(&config::schema())
}
