//! What a viewer notices of a region's bad day, behind Meridian and behind other proxies.
//!
//! For each fault and each proxy: three regions at 5, 40 and 120 ms, an open-loop client, the
//! fault in the preferred region, its end. `benches/README.md` tells how it is measured.

mod cell;
mod fault;
mod measure;
mod options;
mod proxy;
mod region;
mod settings;
mod viewer;

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
use crate::proxy::{Proxy, Running};

/// A cell, or why there is none.
type Cell = Result<Numbers, String>;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "{problem}\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let running = Running::default();
    end_with_us(running.clone());
    let done = if options.is_bench {
        table(&options, &running)
    } else {
        look(&running)
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "failover: {error}");
        ExitCode::FAILURE
    })
}

/// Ends the proxies when this program is told to end.
fn end_with_us(running: Running) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            running.end_and_exit();
            #[expect(unreachable_code, reason = "it gives the block its type")]
            io::Result::Ok(())
        })
    });
}

/// One short cell, to show that all parts work.
fn look(running: &Running) -> io::Result<ExitCode> {
    let timing = Timing {
        before: Duration::from_millis(500),
        fault: Duration::from_secs(1),
        after: Duration::from_millis(500),
    };
    let killed = Fault::named("killed").ok_or(io::ErrorKind::NotFound)?;
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
        let cells = row(*fault, &proxies, options, running);
        let texts: Vec<_> = cells.iter().map(|(_, cell)| short(cell)).collect();
        writeln!(out, "| {} | {} |", fault.title, texts.join(" | "))?;
        out.flush()?;
        for (proxy, cell) in &cells {
            if options.is_verbose {
                let long = cell.as_ref().map_or_else(Clone::clone, Numbers::long);
                writeln!(io::stderr(), "  {}/{}: {long}", fault.name, proxy.name())?;
            }
            let meets = cell.as_ref().is_ok_and(|cell| cell.misses().is_empty());
            is_met &= meets || *proxy != Proxy::Meridian;
        }
        let cells = cells.into_iter().map(|(proxy, cell)| {
            let value = cell.map_or_else(|why| json!({ "failed": why }), |cell| cell.json());
            (proxy.name().to_owned(), value)
        });
        rows.insert(fault.name.to_owned(), Value::Object(cells.collect()));
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
        let folder = tempfile::tempdir().map_err(|error| format!("a folder: {error}"))?;
        let cell = cell::run(proxy, fault, options.timing, folder.path(), running);
        if options.is_kept {
            let (fault, proxy, kept) = (fault.name, proxy.name(), folder.keep());
            let _ = writeln!(io::stderr(), "  {fault}/{proxy}: {}", kept.display());
        }
        cell
    };
    let crashed = || Err("the measurement crashed".to_owned());
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
        Ok(numbers) => numbers.short(),
        Err(why) => format!("failed: {why}"),
    }
}
