//! What the command line asks for.

use std::time::Duration;

use crate::proxy::{PROXIES, Proxy};
use crate::row::{self, ROWS, Row};

/// What is printed for `--help`.
pub(crate) const HELP: &str = "cargo bench --bench compare [-- OPTIONS]
  --rows A,B        only these rows
  --proxies A,B     only these columns
  --list            only say which rows there are
  --rounds N        how often each cell is measured (3); the median is shown
  --seconds N       how long each time (3)
  --calls           count system calls per request instead of time; needs perf and root
  --check           exit 1 when Meridian needs more than 0.9 of the best of the others
  --keep            keep each proxy's configuration and logs, and say where
";

/// What to run and how to show it.
pub(crate) struct Options {
    pub(crate) rows: Vec<Row>,
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
                "--rows" => options.rows = each(&value()?, row::named)?,
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
        Ok(options)
    }
}

fn number(word: &str, value: &str, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| format!("{word} takes 1 to {most}"))
}

fn proxy(name: &str) -> Option<Proxy> {
    PROXIES.into_iter().find(|proxy| proxy.name() == name)
}

fn each<T>(names: &str, named: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    let each = names.split(',').map(str::trim);
    each.map(|name| named(name).ok_or_else(|| format!("nothing is called `{name}`")))
        .collect()
}
