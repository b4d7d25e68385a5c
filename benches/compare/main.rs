//! What a request costs: processor time per request of Meridian and of other proxies.
//!
//! Each proxy has one core, origins and load the other. `benches/README.md` tells how it is
//! measured.

mod cell;
mod certificates;
mod cpu;
mod load;
mod options;
mod origin;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/proxy.rs"]
mod proxy;
mod report;
mod row;
mod settings;
mod site;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::cell::{Cell, Taken};
use crate::certificates::Certificates;
use crate::options::{HELP, Options};
use crate::origin::Origins;
use crate::process::Running;
use crate::proxy::Proxy;
use crate::report::{Line, Report};
use crate::row::{ROWS, Row};

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let running = Running::default();
    running.end_with_us();
    let done = if options.is_list {
        list()
    } else if options.is_bench {
        table(&options, &running)
    } else {
        look(&running)
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "compare: {error}");
        ExitCode::FAILURE
    })
}

/// The names of all rows.
fn list() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    for row in ROWS {
        writeln!(out, "{:12} {}", row.name, row.title)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything but the loads, which are other programs: a proxy starts and answers.
fn look(running: &Running) -> io::Result<ExitCode> {
    let certificates = Certificates::new()?;
    let origins = Origins::start(&certificates)?;
    let folder = tempfile::tempdir()?;
    for row in ROWS {
        Cell::start(
            Proxy::Meridian,
            *row,
            &origins,
            &certificates,
            folder.path(),
            running,
        )?;
    }
    writeln!(
        io::stdout(),
        "compare, a look: Meridian starts for all {} rows",
        ROWS.len()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The whole table, to standard output and to `target/compare.json`.
fn table(options: &Options, running: &Running) -> io::Result<ExitCode> {
    keep_to_one_core()?;
    let proxies: Vec<_> = options
        .proxies
        .iter()
        .filter_map(|proxy| Some((*proxy, proxy.version()?)))
        .collect();
    let mut report = Report::begin(options, proxies, &mut io::stdout())?;
    let certificates = Certificates::new()?;
    let origins = Origins::start(&certificates)?;
    let folder = tempfile::tempdir()?;
    for row in &options.rows {
        let line = measure(
            row,
            &report,
            options,
            (&origins, &certificates),
            folder.path(),
            running,
        );
        report.add(line, &mut io::stdout())?;
    }
    report.write(Path::new("target/compare.json"))?;
    if options.is_kept {
        writeln!(io::stdout(), "\nkept in {}", folder.keep().display())?;
    }
    Ok(report.verdict(options.is_checked))
}

/// All proxies of a row, in turn and in rounds, so that all meet the same noise of the machine.
fn measure(
    row: &Row,
    report: &Report,
    options: &Options,
    (origins, certificates): (&Origins, &Certificates),
    folder: &Path,
    running: &Running,
) -> Line {
    let mut cells: Vec<_> = report
        .proxies()
        .map(|proxy| {
            let folder = folder.join(row.name).join(proxy.name());
            row.suits(proxy).then(|| {
                let cell = Cell::start(proxy, *row, origins, certificates, &folder, running);
                (cell.map_err(|error| error.to_string()), Vec::<Taken>::new())
            })
        })
        .collect();
    for _ in 0..options.rounds {
        for (cell, taken) in cells.iter_mut().flatten() {
            let measured = match cell {
                Ok(running_cell) => {
                    running_cell.measure(origins, options.length, options.counts_calls, running)
                }
                Err(_) => continue,
            };
            match measured {
                Ok(measured) => taken.push(measured),
                Err(problem) => *cell = Err(problem),
            }
            // What the one leaves behind is not to be the next one's.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let cells = cells.into_iter();
    let cells = cells.map(|cell| cell.map(|(cell, taken)| cell.map(|_| taken)));
    Line {
        row: *row,
        cells: cells.collect(),
    }
}

/// This program's threads, the origins among them, share the core of the load.
fn keep_to_one_core() -> io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(load::CORE.parse().map_err(io::Error::other)?);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}
