//! Where a command's words go: data to standard output, talk to standard error.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;

use crate::cli::failure::Failure;

/// Characters that fit beside each other on every terminal.
const SCREEN: usize = 79;

/// Standard output and standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    quiet: bool,
}

impl Terminal {
    /// `quiet`: only errors are said.
    pub(crate) fn new(color: ColorChoice, quiet: bool) -> Self {
        let choice = match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self { quiet }
    }

    /// Writes data as it is; the text ends its own lines.
    ///
    /// # Errors
    /// When it cannot be written, a closed pipe included.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut output = anstream::stdout();
        output.write_all(text.as_bytes())?;
        output.flush()?;
        Ok(())
    }

    /// Writes a value as indented JSON.
    ///
    /// # Errors
    /// When it cannot be written, a closed pipe included.
    pub(crate) fn json(&self, value: &serde_json::Value) -> Result<(), Failure> {
        self.data(&format!("{value:#}\n"))
    }

    /// Says one line about what happens, unless told to be quiet.
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            talk(&format!("{line}\n"));
        }
    }

    /// Says a line in the place of the one before, which ends when an empty line is said; for a
    /// person only.
    pub(crate) fn redraw(&self, line: &str) {
        if self.quiet || !self.talks_to_a_person() {
            return;
        }
        match line.is_empty() {
            true => talk("\n"),
            // A line that wraps could not be drawn over.
            false => {
                let line: String = line.chars().take(SCREEN).collect();
                talk(&format!("\r{line:<SCREEN$}"));
            }
        }
    }

    /// Says text whose lines end already, unless told to be quiet.
    pub(crate) fn say_text(&self, text: &str) {
        if !self.quiet {
            talk(text);
        }
    }

    /// Says why a command failed.
    pub(crate) fn complain(&self, failure: &Failure) {
        match failure {
            _ if failure.is_closed_pipe() => {}
            Failure::Config(text) => talk(text),
            other => talk(&format!("meridian: {other}\n")),
        }
    }

    /// Whether talk may be coloured.
    pub(crate) fn talks_in_color(&self) -> bool {
        anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
    }

    /// Whether talk is read by a person.
    pub(crate) fn talks_to_a_person(&self) -> bool {
        io::stderr().is_terminal()
    }
}

fn talk(text: &str) {
    // With standard error gone there is nobody left to tell.
    let _ = anstream::stderr().write_all(text.as_bytes());
}
