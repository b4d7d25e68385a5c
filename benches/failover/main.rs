//! What a viewer notices of bad days, second incidents and ordinary days, behind Meridian and
//! behind other proxies.
//!
//! For each row and each proxy: three regions at 5, 40 and 120 ms, an open-loop client, what
//! happens to the regions, its end. `benches/README.md` tells how it is measured.

mod caller;
mod capacity;
mod cell;
mod certificates;
mod day;
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
#[path = "../peers/envoy_parts.rs"]
mod envoy_parts;
#[path = "../peers/names.rs"]
mod names;
#[path = "../peers/process.rs"]
mod process;
#[path = "../peers/proxy.rs"]
mod proxy;
mod relay;
mod rows;
mod scenario;
mod scene;
mod server;
mod settings;
mod setup;
mod soak;
mod strain;
mod topology;
mod timing;
mod viewer;
mod wish;
mod world;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::options::{HELP, Options};
use crate::process::Running;
use crate::proxy::Proxy;
use crate::scenario::{Judged, SUITES, Scenario, Suite};
use crate::timing::Timing;

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
    } else if let Some(soak) = options.soak() {
        soak.run(&running)
    } else if options.is_bench {
        tables(&options, &running)
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
    for suite in SUITES {
        writeln!(out, "{} (--table {})", suite.title(), suite.name())?;
        for scenario in suite.scenarios() {
            writeln!(out, "  {:22} {}", scenario.name(), scenario.title())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One short cell of a kind, and a short soak, to show that all parts work.
fn look(running: &Running) -> io::Result<ExitCode> {
    let timing = Timing {
        before: Duration::from_millis(500),
        fault: Duration::from_secs(1),
        after: Duration::from_millis(500),
    };
    let killed = rows::named("killed").ok_or(io::ErrorKind::NotFound)?;
    let looks = [
        Scenario::Fault(killed),
        Scenario::Day(Box::new(day::ordinary::look())),
    ];
    for scenario in looks {
        let folder = tempfile::tempdir()?;
        let judged = scenario.run(Proxy::Meridian, timing, folder.path(), running);
        if let Some(Err(why)) = judged {
            return Err(io::Error::other(why));
        }
        let short = scenario::short(&judged);
        writeln!(
            io::stdout(),
            "failover, a look at {}: {short}",
            scenario.name()
        )?;
    }
    // What it finds is not the matter here.
    soak::LOOK.run(running).map(|_| ExitCode::SUCCESS)
}

/// The tables, to standard output and to `target/failover.json`.
fn tables(options: &Options, running: &Running) -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let proxies = versions(&options.proxies, &mut out)?;
    writeln!(out, "{}", circumstances(options))?;
    let mut report = Map::new();
    let versions = proxies
        .iter()
        .map(|(proxy, version)| (proxy.name().to_owned(), json!(version)));
    report.insert("versions".to_owned(), Value::Object(versions.collect()));
    let mut is_met = proxies.iter().any(|(proxy, _)| *proxy == Proxy::Meridian);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    std::fs::create_dir_all(&folder)?;
    for (suite, scenarios) in &options.rows {
        if scenarios.is_empty() {
            continue;
        }
        let rows = table(*suite, scenarios, &proxies, options, running, &mut is_met)?;
        report.insert(suite.name().to_owned(), rows);
        let text = json!(report);
        std::fs::write(folder.join("failover.json"), format!("{text:#}\n"))?;
    }
    Ok(ExitCode::from(u8::from(options.is_checked && !is_met)))
}

/// One table; what it found, for other programs.
fn table(
    suite: Suite,
    scenarios: &[Scenario],
    proxies: &[(Proxy, String)],
    options: &Options,
    running: &Running,
    is_met: &mut bool,
) -> io::Result<Value> {
    let mut out = io::stdout();
    let heads: Vec<_> = proxies.iter().map(|(proxy, _)| proxy.name()).collect();
    writeln!(out, "\n{}\n", suite.title())?;
    writeln!(out, "| {} | bar | {} |", suite.head(), heads.join(" | "))?;
    writeln!(out, "|---|---|{}", "---|".repeat(heads.len()))?;
    let mut rows = Map::new();
    for scenario in scenarios {
        for time in 1..=options.repeat {
            let cells = row(scenario, proxies, options, running);
            let texts: Vec<_> = cells
                .iter()
                .map(|(_, cell)| scenario::short(cell))
                .collect();
            let bar = scenario.bar(options.timing_of(scenario));
            writeln!(
                out,
                "| {} | {bar} | {} |",
                scenario.title(),
                texts.join(" | ")
            )?;
            out.flush()?;
            if options.is_verbose {
                explain(scenario, &cells);
            }
            let ours = cells.iter().find(|(proxy, _)| *proxy == Proxy::Meridian);
            *is_met &= ours.is_none_or(|(_, cell)| scenario::meets_bar(cell));
            let name = match time {
                1 => scenario.name().to_owned(),
                time => format!("{} {time}", scenario.name()),
            };
            let cells = cells.iter();
            let cells = cells.map(|(proxy, cell)| (proxy.name().to_owned(), scenario::json(cell)));
            rows.insert(name, Value::Object(cells.collect()));
        }
    }
    Ok(Value::Object(rows))
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
        "{cores} cores for everything; bad days: {} requests/s, every fifth a POST, {before:?} \
         before, {fault:?} of fault, {after:?} after; {turn}\nMeridian: {}",
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
    scenario: &Scenario,
    proxies: &[(Proxy, String)],
    options: &Options,
    running: &Running,
) -> Vec<(Proxy, Judged)> {
    let measure = |proxy: Proxy| {
        let folder = match tempfile::tempdir() {
            Ok(folder) => folder,
            Err(error) => return Some(Err(format!("a folder: {error}"))),
        };
        let timing = options.timing_of(scenario);
        let cell = scenario.run(proxy, timing, folder.path(), running);
        if options.is_kept {
            let (name, proxy, kept) = (scenario.name(), proxy.name(), folder.keep());
            let _ = writeln!(io::stderr(), "  {name}/{proxy}: {}", kept.display());
        }
        cell
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

/// Every number of a row, to standard error.
fn explain(scenario: &Scenario, cells: &[(Proxy, Judged)]) {
    for (proxy, cell) in cells {
        let long = match cell {
            Some(Ok(mark)) => &mark.long,
            Some(Err(why)) => why,
            None => continue,
        };
        let _ = writeln!(
            io::stderr(),
            "  {}/{}: {long}",
            scenario.name(),
            proxy.name()
        );
    }
}
