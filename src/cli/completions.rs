//! `meridian completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;

/// Prints a script that completes commands and flags.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: meridian completions bash > ~/.local/share/bash-completion/completions/meridian"
)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(
        &self,
        mut definition: clap::Command,
        terminal: &Terminal,
    ) -> Result<(), Failure> {
        // The generator panics when its writer fails; a vector never does.
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut definition, "meridian", &mut text);
        terminal.data(&String::from_utf8_lossy(&text))
    }
}
