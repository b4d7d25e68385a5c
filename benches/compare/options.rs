//! What the command line asks for.

use std::time::Duration;

use crate::names::{each, proxy};
use crate::proxy::{PROXIES, Proxy};
use crate::row::{self, ROWS, Row};
use crate::study::{self, STUDIES, Study};

/// What is printed for `--help`.
pub(crate) const HELP: &str = "cargo bench --bench compare [-- OPTIONS]
  --rows A,B        only these rows and studies
  --proxies A,B     only these columns
  --list            only say which rows and studies there are
  --rounds N        how often each cell is measured (3); the median is shown
  --seconds N       how long each time (3)
  --calls           count system calls per request instead of time; needs perf and root; no studies
  --check           exit 1 when Meridian needs more than 0.9 of the best of the others in a row,
                    20 KiB or more for an idle connection, or serves less than 1.9 times as much
                    with two cores
  --keep            keep each proxy's configuration and logs, and say where
";

/// What to run and how to show it.
pub(crate) struct Options {
    pub(crate) rows: Vec<Row>,
    pub(crate) studies: Vec<Study>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) rounds: usize,
    pub(crate) length: Duration,
    pub(crate) counts_calls: bool,
    pub(crate) is_list: bool,
    pub(crate) is_checked: bool,
    pub(crate) is_kept: bool,
    /// Set by `cargo bench`; `cargo test` leaves it out and wants a quick look only.
    pub(crate) is_bench: bool,
}

impl Options {
    /// Reads the words after the program's name; the error says what is wrong with them.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rows: ROWS.to_vec(),
            studies: STUDIES.to_vec(),
            proxies: PROXIES.to_vec(),
            rounds: 3,
            length: Duration::from_secs(3),
            counts_calls: false,
            is_list: false,
            is_checked: false,
            is_kept: false,
            is_bench: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rows" => (options.rows, options.studies) = chosen(&value()?)?,
                "--proxies" => options.proxies = each(&value()?, proxy)?,
                "--rounds" => options.rounds = number(&word, &value()?, 100)?,
                "--seconds" => {
                    let seconds = number(&word, &value()?, 600)?;
                    options.length = Duration::from_secs(seconds as u64);
                }
                "--calls" => options.counts_calls = true,
                "--list" => options.is_list = true,
                "--check" => options.is_checked = true,
                "--keep" => options.is_kept = true,
                "--bench" => options.is_bench = true,
                "--help" | "-h" => return Err(String::new()),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        if options.counts_calls {
            options.studies.clear();
        }
        Ok(options)
    }
}

fn number(word: &str, value: &str, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("{word} takes 1 to {most}"))
}

/// The rows and the studies of these names.
fn chosen(names: &str) -> Result<(Vec<Row>, Vec<Study>), String> {
    let known = |name: &str| {
        let (row, study) = (row::named(name), study::named(name));
        (row.is_some() || study.is_some()).then_some((row, study))
    };
    let (rows, studies): (Vec<_>, Vec<_>) = each(names, known)?.into_iter().unzip();
    Ok((
        rows.into_iter().flatten().collect(),
        studies.into_iter().flatten().collect(),
    ))
}
