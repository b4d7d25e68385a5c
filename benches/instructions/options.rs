//! What the command line asks for.

use crate::row::{self, ROWS, Row};

/// What is printed for `--help`.
pub(crate) const HELP: &str = "cargo bench --bench instructions [-- OPTIONS]
  --rows A,B        only these rows
  --save            write what is counted to the baseline
  --check           exit 1 when a row is above the baseline
  --allocations     also say which functions allocate
";

/// What to count and what to do with it.
pub(crate) struct Options {
    pub(crate) rows: Vec<Row>,
    pub(crate) is_saved: bool,
    pub(crate) is_checked: bool,
    pub(crate) shows_allocations: bool,
    /// Set by `cargo bench`; `cargo test` leaves it out and wants a quick look only.
    pub(crate) is_bench: bool,
}

impl Options {
    /// Reads the words after the program's name; the error says what is wrong with them.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rows: ROWS.to_vec(),
            is_saved: false,
            is_checked: false,
            shows_allocations: false,
            is_bench: false,
        };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rows" => {
                    let names = words.next().ok_or("--rows needs a value")?;
                    options.rows = rows(&names)?;
                }
                "--save" => options.is_saved = true,
                "--check" => options.is_checked = true,
                "--allocations" => options.shows_allocations = true,
                "--bench" => options.is_bench = true,
                "--help" => return Err(String::new()),
                _ => return Err(format!("what is {word}?")),
            }
        }
        Ok(options)
    }
}

fn rows(names: &str) -> Result<Vec<Row>, String> {
    let names = names.split(',');
    names
        .map(|name| row::named(name).ok_or_else(|| format!("no row is called {name}")))
        .collect()
}
