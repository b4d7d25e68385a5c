//! `meridian man`: the manual page, as roff.

use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;

pub(crate) fn run(definition: clap::Command, terminal: &Terminal) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_mangen::Man::new(definition).render(&mut text)?;
    terminal.data(&String::from_utf8_lossy(&text))
}
