//! What the command line asks for.

use std::time::Duration;

use crate::names::{each, proxy};
use crate::proxy::{PROXIES, Proxy};
use crate::scenario::{SUITES, Scenario, Suite};
use crate::soak::Soak;
use crate::timing::Timing;

/// What is printed for `--help`.
pub(crate) const HELP: &str = "cargo bench --bench failover [-- OPTIONS]
  --table A,B       only these tables: bad, second, ordinary
  --rows A,B        only these rows, of whichever table
  --proxies A,B     only these columns
  --list            only say which rows there are
  --repeat N        every row so many times
  --seconds N       how long a bad day's fault lasts (8, some rows longer)
  --quick           shorter bad days: 1 s before, 3 s of fault, 3 s after
  --one-by-one      one proxy at a time; else all of a row at once, each with its own regions
  --check           exit 1 when Meridian misses the bar
  --soak TIME       no tables: random faults and ordinary days over a demo for so long (20m)
  --seed N          the soak's; else another one each time
  --keep            keep each proxy's configuration and logs, and say where
  -v                every number
";

/// What to run and how to show it.
pub(crate) struct Options {
    /// Of each table.
    pub(crate) rows: Vec<(Suite, Vec<Scenario>)>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) timing: Timing,
    /// How often each row is measured.
    pub(crate) repeat: usize,
    /// Whether no fault lasts longer than `timing` says.
    pub(crate) is_quick: bool,
    pub(crate) is_list: bool,
    pub(crate) is_one_by_one: bool,
    pub(crate) is_checked: bool,
    pub(crate) is_kept: bool,
    pub(crate) is_verbose: bool,
    /// How long to soak a demo, if that is all.
    soak: Option<Duration>,
    seed: u64,
    /// Set by `cargo bench`; `cargo test` leaves it out and wants a quick look only.
    pub(crate) is_bench: bool,
}

impl Options {
    /// Reads the words after the program's name; the error says what is wrong with them.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            rows: SUITES.map(|suite| (suite, suite.scenarios())).into(),
            proxies: PROXIES.to_vec(),
            timing: timing(3, 8, 8),
            repeat: 1,
            is_quick: false,
            is_list: false,
            is_one_by_one: false,
            is_checked: false,
            is_kept: false,
            is_verbose: false,
            soak: None,
            // Short, as it may have to be typed again.
            seed: fastrand::u64(..1_000_000),
            is_bench: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--table" => {
                    let wanted = each(&value()?, suite)?;
                    options.rows.retain(|(suite, _)| wanted.contains(suite));
                }
                "--rows" => options.keep(&value()?)?,
                "--proxies" => options.proxies = each(&value()?, proxy)?,
                "--seconds" => {
                    let seconds = value()?.parse().ok().filter(|n| (1..=600).contains(n));
                    options.timing.fault =
                        Duration::from_secs(seconds.ok_or("--seconds takes 1 to 600")?);
                }
                "--quick" => {
                    options.is_quick = true;
                    options.timing = timing(1, 3, 3);
                }
                "--list" => options.is_list = true,
                "--repeat" => {
                    let times = value()?.parse().ok().filter(|n| (1..=1000).contains(n));
                    options.repeat = times.ok_or("--repeat takes 1 to 1000")?;
                }
                "--one-by-one" => options.is_one_by_one = true,
                "--keep" => options.is_kept = true,
                "--check" => options.is_checked = true,
                "--soak" => {
                    let length = meridian_core::config::duration(&value()?);
                    let length = length.filter(|length| !length.is_zero());
                    options.soak = Some(length.ok_or("--soak takes a time such as 20m")?);
                }
                "--seed" => {
                    let seed = value()?.parse().ok();
                    options.seed = seed.ok_or("--seed takes a number")?;
                }
                "-v" | "--verbose" => options.is_verbose = true,
                "--bench" => options.is_bench = true,
                "--help" | "-h" => return Err(String::new()),
                _ => return Err(format!("unknown option {word}")),
            }
        }
        Ok(options)
    }

    /// The soak, where one is wanted.
    pub(crate) fn soak(&self) -> Option<Soak> {
        Some(Soak {
            length: self.soak?,
            seed: self.seed,
            is_verbose: self.is_verbose,
        })
    }

    /// How long the parts of this row last, if it is a bad day.
    pub(crate) fn timing_of(&self, scenario: &Scenario) -> Timing {
        let mut timing = self.timing;
        if let Scenario::Fault(fault) = scenario
            && !self.is_quick
        {
            timing.fault = timing.fault.max(fault.at_least);
        }
        timing
    }

    /// Keeps only the rows of these names.
    fn keep(&mut self, names: &str) -> Result<(), String> {
        let names: Vec<_> = names.split(',').map(str::trim).collect();
        let all = || self.rows.iter().flat_map(|(_, rows)| rows);
        if let Some(name) = names
            .iter()
            .find(|name| all().all(|row| row.name() != **name))
        {
            return Err(format!("no row is called `{name}`"));
        }
        for (_, rows) in &mut self.rows {
            rows.retain(|row| names.contains(&row.name()));
        }
        Ok(())
    }
}

fn timing(before: u64, fault: u64, after: u64) -> Timing {
    Timing {
        before: Duration::from_secs(before),
        fault: Duration::from_secs(fault),
        after: Duration::from_secs(after),
    }
}

fn suite(name: &str) -> Option<Suite> {
    SUITES.into_iter().find(|suite| suite.name() == name)
}
