//! What a request costs: processor time per request of Meridian and of other proxies.
//!
//! Each proxy has one core, origins and load the other. `benches/README.md` tells how it is
//! measured.

mod cell;
mod certificates;
mod ground;
mod load;
mod median;
mod options;
mod origin;
#[path = "../peers/envoy_parts.rs"]
mod envoy_parts;
#[path = "../peers/names.rs"]
mod names;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/proxy.rs"]
mod proxy;
mod report;
mod row;
mod settings;
mod site;
mod studies;
mod study;
mod usage;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::cell::{Cell, Taken};
use crate::ground::Ground;
use crate::options::{HELP, Options};
use crate::process::Running;
use crate::proxy::{PROXIES, Proxy};
use crate::report::{Line, Report};
use crate::row::{Load, ROWS, Row};
use crate::site::Site;
use crate::study::STUDIES;

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

/// The names of all rows and studies.
fn list() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    for row in ROWS {
        writeln!(out, "{:12} {}", row.name, row.title)?;
    }
    for study in STUDIES {
        writeln!(out, "{:12} {}", study.name(), study.title())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything but the loads that are other programs: Meridian starts for each row, and answers
/// those that are ours.
fn look(running: &Running) -> io::Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let ground = Ground::new(folder.path().to_owned(), running)?;
    for row in ROWS {
        let mut row = *row;
        // Enough for one of each kind; reading more takes a build without optimisation seconds.
        row.routes = row.routes.min(100);
        let site = Site::new(row, row.name, Proxy::Meridian, &ground)?;
        let cell = Cell::start(Proxy::Meridian, site, &ground)?;
        if matches!(row.load, Load::Streams { .. } | Load::WebSocket { .. }) {
            let served = ground.origins.served();
            load::start(cell.site(), Duration::from_millis(200), &ground)?
                .finish(&cell.site().folder)?;
            if ground.origins.served() == served {
                return Err(io::Error::other("the origins count no messages"));
            }
        }
    }
    studies::look_idle(&ground)?;
    let rows = ROWS.len();
    writeln!(
        io::stdout(),
        "compare, a look: Meridian starts for all {rows} rows"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The proxies that can be started, and their versions. Of all there are, those that are not installed
/// are left out; but not Meridian, nor any that was asked for by name.
fn installed(options: &Options) -> io::Result<Vec<(Proxy, String)>> {
    let are_named = options.proxies.len() < PROXIES.len();
    let mut installed = Vec::new();
    for proxy in &options.proxies {
        match proxy.version() {
            Some(version) => installed.push((*proxy, version)),
            None if are_named || *proxy == Proxy::Meridian => {
                let problem = format!("{} does not say its version", proxy.program().display());
                return Err(io::Error::other(problem));
            }
            None => {}
        }
    }
    Ok(installed)
}

/// All tables, to standard output and to `target/compare.json`.
fn table(options: &Options, running: &Running) -> io::Result<ExitCode> {
    ground::keep_to_one_core()?;
    ground::allow_many_files()?;
    let proxies = installed(options)?;
    let mut report = Report::begin(options, proxies, &mut io::stdout())?;
    let folder = tempfile::tempdir()?;
    let ground = Ground::new(folder.path().to_owned(), running)?;
    let proxies: Vec<_> = report.proxies().collect();
    for row in &options.rows {
        let line = measure(*row, &proxies, options, &ground);
        report.add(line, &mut io::stdout())?;
    }
    for study in &options.studies {
        let findings = studies::run(*study, &proxies, options, &ground);
        report.add_findings(findings, &mut io::stdout())?;
    }
    report.write(Path::new("target/compare.json"))?;
    if options.is_kept {
        writeln!(io::stdout(), "\nkept in {}", folder.keep().display())?;
    }
    Ok(report.verdict(options.is_checked))
}

/// All proxies of a row, in turn and in rounds, so that all meet the same noise of the machine.
fn measure(row: Row, proxies: &[Proxy], options: &Options, ground: &Ground) -> Line {
    let start = |proxy: Proxy| {
        let site = Site::new(row, row.name, proxy, ground)?;
        Ok((Cell::start(proxy, site, ground)?, Vec::<Taken>::new()))
    };
    let mut cells: Vec<Option<io::Result<_>>> = proxies
        .iter()
        .map(|proxy| row.suits(*proxy).then(|| start(*proxy)))
        .collect();
    cell::settle();
    for _ in 0..options.rounds {
        for cell in cells.iter_mut().flatten() {
            let Ok((running, taken)) = cell else { continue };
            match running.measure(options.length, options.counts_calls, ground) {
                Ok(measured) => taken.push(measured),
                Err(problem) => *cell = Err(problem),
            }
            // What the one leaves behind is not to be the next one's.
            sleep(Duration::from_millis(200));
        }
    }
    let cells = cells.into_iter();
    let cells = cells.map(|cell| Some(cell?.map(|(_, taken)| taken)));
    Line {
        row,
        cells: cells.collect(),
    }
}
