//! Instructions and allocations per request, counted by callgrind: the same on every run.
//!
//! `benches/README.md` tells how they are counted.

mod baseline;
mod callgrind;
#[allow(dead_code, reason = "shared; our origins speak no TLS")]
#[path = "../compare/certificates.rs"]
mod certificates;
mod client;
mod count;
mod decision;
mod machine;
mod options;
mod origin;
#[path = "../peers/process.rs"]
mod process;
mod profile;
mod proxy;
mod report;
mod row;
#[path = "../../core/tests/it/support/world.rs"]
mod world;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::baseline::Baseline;
use crate::certificates::Certificates;
use crate::count::Count;
use crate::machine::Machine;
use crate::options::{HELP, Options};
use crate::process::Running;
use crate::report::Report;
use crate::row::{Row, Work};

/// What to do where nothing can be counted.
const INSTALL: &str = "valgrind is not installed (`apt-get install valgrind`)";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some(decision::ALONE) => {
            decision::alone();
            return ExitCode::SUCCESS;
        }
        Some(machine::FEATURES) => {
            let said = writeln!(io::stdout(), "{}", machine::features());
            return said.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
        _ => {}
    }
    let options = match Options::read(words.into_iter()) {
        Ok(options) => options,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let running = Running::default();
    running.end_with_us();
    let done = match (options.is_bench, callgrind::version()) {
        (true, Some(valgrind)) => table(&options, valgrind, &running),
        (true, None) => Err(io::Error::other(INSTALL)),
        (false, valgrind) => look(valgrind.is_some(), &running),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "instructions: {error}");
        ExitCode::from(2)
    })
}

/// Counts all rows and compares them with the baseline.
fn table(options: &Options, valgrind: String, running: &Running) -> io::Result<ExitCode> {
    let machine = Machine::here(valgrind)?;
    let saved = Baseline::load()?;
    let mut report = Report::begin(io::stdout(), &machine, saved.as_ref())?;
    let folder = tempfile::tempdir()?;
    let certificates = Certificates::new()?;
    // Rows that are not counted now keep what was saved, if it is this machine's.
    let mut counted = saved
        .clone()
        .filter(|saved| saved.machine == machine)
        .unwrap_or_else(|| Baseline::new(machine));
    for row in &options.rows {
        let count = count(row, &certificates, folder.path(), running)
            .map_err(|error| io::Error::other(format!("{}: {error}", row.name)))?;
        report.add(row, &count, options.shows_allocations)?;
        counted.set(row, &count);
    }
    if options.is_saved {
        counted.save()?;
    }
    let is_good = report.finish()? || !options.is_checked;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn count(
    row: &Row,
    certificates: &Certificates,
    folder: &Path,
    running: &Running,
) -> io::Result<Count> {
    let folder = folder.join(row.name);
    fs::create_dir(&folder)?;
    match row.work {
        Work::Decide => decision::count(&folder, running),
        Work::Proxy(load) => proxy::count(load, certificates, &folder, running),
    }
}

/// Each kind of request a few times, without counting.
fn look(can_count: bool, running: &Running) -> io::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let certificates = Certificates::new()?;
    let mut loads = 0;
    for row in row::ROWS {
        if let Work::Proxy(load) = row.work {
            let folder = folder.path().join(row.name);
            fs::create_dir(&folder)?;
            proxy::look(load, &certificates, &folder, running)
                .map_err(|error| io::Error::other(format!("{}: {error}", row.name)))?;
            loads += 1;
        }
    }
    let mut out = io::stdout();
    writeln!(out, "instructions, a look: {loads} loads are answered")?;
    if !can_count {
        writeln!(out, "instructions: {INSTALL}, so nothing can be counted")?;
    }
    Ok(ExitCode::SUCCESS)
}
