//! `meridian init`: a commented configuration to start from.

mod preset;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::failure::Failure;
use crate::cli::options::Globals;
use crate::cli::terminal::Terminal;

/// Writes ./meridian.toml, or the file that -c names. Never overwrites.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian init --preset cloudfront && meridian validate")]
pub(crate) struct Init {
    /// What stands in front: cloudfront, global-accelerator, sidecar, or local
    #[arg(long, value_name = "NAME", default_value = "local")]
    preset: String,
}

impl Init {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let text = preset::preset(&self.preset).ok_or_else(|| {
            let known = preset::PRESETS.map(|(name, _)| name).join(", ");
            Failure::Usage(format!(
                "there is no preset {:?}; there are: {known}",
                self.preset
            ))
        })?;
        let path = globals.config.clone();
        let path = path.unwrap_or_else(|| PathBuf::from("meridian.toml"));
        write_new(&path, text)?;
        let shown = path.display();
        terminal.say(&format!(
            "wrote {shown}; put your origins and certificates in, then: \
             meridian validate -c {shown}"
        ));
        Ok(())
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| {
        let shown = path.display();
        Failure::Failed(match error.kind() {
            io::ErrorKind::AlreadyExists => format!("{shown} exists and is left as it is"),
            _ => format!("cannot write {shown}: {error}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meridian.toml");
        write_new(&path, "first").unwrap();
        let error = write_new(&path, "second").unwrap_err();
        assert_eq!(error.exit_code(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    }
}
