//! What a viewer notices of a region's bad day, behind Meridian and behind other proxies.
//!
//! For each fault and each proxy: three regions at 5, 40 and 120 ms, an open-loop client, the
//! fault in the preferred region, its end. `benches/README.md` tells how it is measured.

mod caller;
mod cell;
mod certificates;
mod dns;
mod endpoint;
mod fault;
mod http1;
mod http2;
mod large;
mod ledger;
mod measure;
mod moves;
mod options;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/proxy.rs"]
mod proxy;
mod rows;
mod scene;
mod settings;
mod setup;
mod viewer;
mod world;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cell::Timing;
use crate::fault::Fault;
use crate::measure::Numbers;
use crate::options::{HELP, Options};
use crate::process::Running;
use crate::proxy::Proxy;

/// A cell, or why there is none; nothing where the proxy cannot have such regions.
type Cell = Option<Result<Numbers, String>>;

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
        let _ = writeln!(io::stderr(), "failover: {error}");
        ExitCode::FAILURE
    })
}

/// The names of all rows.
fn list() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    for fault in rows::FAULTS {
        writeln!(out, "{:10} {}", fault.name, fault.title)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One short cell, to show that all parts work.
fn look(running: &Running) -> io::Result<ExitCode> {
    let timing = Timing {
        before: Duration::from_millis(500),
        fault: Duration::from_secs(1),
        after: Duration::from_millis(500),
    };
    let killed = rows::named("killed").ok_or(io::ErrorKind::NotFound)?;
    let folder = tempfile::tempdir()?;
    let cell = cell::run(Proxy::Meridian, killed, timing, folder.path(), running);
    let numbers = cell.map_err(io::Error::other)?;
    writeln!(io::stdout(), "failover, a look: {}", numbers.short())?;
    Ok(ExitCode::SUCCESS)
}

/// The whole table, to standard output and to `target/failover.json`.
fn table(options: &Options, running: &Running) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let proxies = versions(&options.proxies, &mut out)?;
    writeln!(out, "{}\n", circumstances(options))?;
    let names = proxies.iter().map(|(proxy, _)| proxy.name());
    let heads: Vec<_> = names.collect();
    writeln!(
        out,
        "| fault in the preferred region | {} |",
        heads.join(" | ")
    )?;
    writeln!(out, "|---|{}", "---|".repeat(heads.len()))?;
    let mut rows = Map::new();
    let mut is_met = proxies.iter().any(|(proxy, _)| *proxy == Proxy::Meridian);
    for fault in &options.faults {
        for time in 1..=options.repeat {
            let cells = row(*fault, &proxies, options, running);
            let texts: Vec<_> = cells.iter().map(|(_, cell)| short(cell)).collect();
            writeln!(out, "| {} | {} |", fault.title, texts.join(" | "))?;
            out.flush()?;
            if options.is_verbose {
                explain(*fault, &cells);
            }
            let ours = cells.iter().find(|(proxy, _)| *proxy == Proxy::Meridian);
            is_met &= ours.is_none_or(|(_, cell)| meets(cell));
            let name = match time {
                1 => fault.name.to_owned(),
                time => format!("{} {time}", fault.name),
            };
            rows.insert(name, json(cells));
        }
    }
    let versions = proxies
        .iter()
        .map(|(proxy, version)| (proxy.name().to_owned(), json!(version)));
    let versions: Map<_, _> = versions.collect();
    let report = json!({ "versions": versions, "faults": rows });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("failover.json"), format!("{report:#}\n"))?;
    Ok(ExitCode::from(u8::from(options.is_checked && !is_met)))
}

/// What the numbers hold for.
fn circumstances(options: &Options) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let Timing {
        before,
        fault,
        after,
    } = options.timing;
    let turn = if options.is_one_by_one {
        "one proxy at a time"
    } else {
        "the proxies of a row at once"
    };
    format!(
        "{cores} cores for everything; {} requests/s, every fifth a POST; {before:?} before, \
         {fault:?} of fault, {after:?} after; {turn}\nMeridian: {}",
        viewer::RATE,
        settings::MERIDIAN,
    )
}

/// The proxies that are installed, with their versions; says which are not.
fn versions(wanted: &[Proxy], out: &mut impl Write) -> io::Result<Vec<(Proxy, String)>> {
    let mut found = Vec::new();
    for proxy in wanted {
        match proxy.version() {
            Some(version) => {
                writeln!(out, "{} {version}", proxy.name())?;
                found.push((*proxy, version));
            }
            None => writeln!(out, "{}: not installed, left out", proxy.name())?,
        }
    }
    Ok(found)
}

/// The cells of one row, measured at once or in turn.
fn row(
    fault: Fault,
    proxies: &[(Proxy, String)],
    options: &Options,
    running: &Running,
) -> Vec<(Proxy, Cell)> {
    let measure = |proxy: Proxy| {
        if !fault.setup.suits(proxy) {
            return None;
        }
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => return Some(Err(format!("a folder: {error}"))),
        };
        let timing = options.timing_of(&fault);
        let cell = cell::run(proxy, fault, timing, folder.path(), running);
        if options.is_kept {
            let (fault, proxy, kept) = (fault.name, proxy.name(), folder.keep());
            let _ = writeln!(io::stderr(), "  {fault}/{proxy}: {}", kept.display());
        }
        Some(cell)
    };
    let crashed = || Some(Err("the measurement crashed".to_owned()));
    let proxies = proxies.iter().map(|(proxy, _)| *proxy);
    if options.is_one_by_one {
        return proxies.map(|proxy| (proxy, measure(proxy))).collect();
    }
    thread::scope(|scope| {
        let started: Vec<_> = proxies
            .map(|proxy| (proxy, scope.spawn(move || measure(proxy))))
            .collect();
        let ended = started.into_iter();
        ended
            .map(|(proxy, cell)| (proxy, cell.join().unwrap_or_else(|_| crashed())))
            .collect()
    })
}

fn short(cell: &Cell) -> String {
    match cell {
        Some(Ok(numbers)) => numbers.short(),
        Some(Err(why)) => format!("failed: {why}"),
        None => "-".to_owned(),
    }
}

fn meets(cell: &Cell) -> bool {
    matches!(cell, Some(Ok(numbers)) if numbers.misses().is_empty())
}

/// Every number of a row, to standard error.
fn explain(fault: Fault, cells: &[(Proxy, Cell)]) {
    for (proxy, cell) in cells {
        if let Some(cell) = cell {
            let long = cell.as_ref().map_or_else(Clone::clone, Numbers::long);
            let _ = writeln!(io::stderr(), "  {}/{}: {long}", fault.name, proxy.name());
        }
    }
}

fn json(cells: Vec<(Proxy, Cell)>) -> Value {
    let each = cells.into_iter().map(|(proxy, cell)| {
        let value = match cell {
            Some(Ok(numbers)) => numbers.json(),
            Some(Err(why)) => json!({ "failed": why }),
            None => Value::Null,
        };
        (proxy.name().to_owned(), value)
    });
    Value::Object(each.collect())
}
