//! `meridian bench`: an open-loop load generator whose viewers come from many countries.

mod alarm;
mod load_connection;
mod workers;
mod dispatch_queue;
mod destination;
mod dialer;
mod fault;
mod latencies;
mod http_connection;
mod live;
mod mix;
mod arrivals;
mod plan;
mod report;
mod tally;
mod template;
mod trust;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::cli::bench::arrivals::Arrivals;
use crate::cli::bench::dialer::Dialer;
use crate::cli::bench::dispatch_queue::Pending;
use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::live::LiveLine;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::report::LoadReport;
use crate::cli::bench::tally::LoadTally;
use crate::cli::bench::template::Template;
use crate::cli::bench::worker::{Orders, Update};
use crate::cli::bench::workers::{Job, Workers};
use crate::cli::failure::Failure;
use crate::cli::options::{Output, OutputFormat};
use crate::cli::stop::Stop;
use crate::cli::terminal::Terminal;
use crate::descriptors::raise_limit;

/// The first request is due so long after all workers were told: time enough to have heard.
const LEAD: Duration = Duration::from_millis(5);
/// A line is printed so long after its second, when the workers have told theirs.
const TELLING: Duration = Duration::from_millis(50);

/// What `--help` says of it.
pub(crate) const ABOUT: &str = "\
Measure a server under load from many countries

An open loop: each request is sent when it is due, however late the earlier ones are, over connections \
that are opened before the first is due. Its latency counts from when it was due, so that a server \
which stands still cannot hide it by keeping the load back; the service time beside it counts from \
when a connection took the request.

Requests that find no connection free wait in a queue. Those that find it full (--queue), or wait \
longer than --timeout, are never sent, and are counted as such.

Ends with 0 when anything was answered, whatever the status: what went wrong is in the report. Ends \
with 1 when nothing was.";

/// Open-loop load over kept connections.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian bench http://127.0.0.1:8080/\n  meridian bench https://localhost:8443/ --insecure --http2 --rate 5000 --for 30s\n  meridian bench http://127.0.0.1:8080/ --country-mix world\n  meridian bench http://127.0.0.1:8080/ --country-mix DE=30,JP=20,US=50 -o json"
)]
pub(crate) struct Bench {
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    output: Output,
}

impl Bench {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<(), Failure> {
        let plan = &self.plan;
        if !plan.destination.is_tls && (plan.insecure || plan.ca.is_some()) {
            let text = "--ca and --insecure are about certificates: use an https URL";
            return Err(Failure::Usage(text.to_owned()));
        }
        // Where the limit is too low all the same, the error says so.
        let _ = raise_limit();
        let job = job(plan)?;
        terminal.say(&format!("{}; Ctrl-C ends it", plan.summary()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
        let ended = runtime.block_on(measure(plan, &job, terminal))?;
        let Some((tally, elapsed)) = ended else {
            return Err(Failure::Failed("stopped before it began".to_owned()));
        };
        let report = LoadReport {
            plan,
            tally: &tally,
            elapsed,
            opened: job.dialer.opened(),
        };
        match self.output.format {
            OutputFormat::Table => terminal.data(&report.text())?,
            OutputFormat::Json => terminal.json(&report.json())?,
        }
        for note in report.notes() {
            terminal.say(&format!("note: {note}"));
        }
        match tally.all.answered {
            0 => Err(plan.unanswered(&tally)),
            _ => Ok(()),
        }
    }
}

fn job(plan: &Plan) -> Result<Job, Failure> {
    let (is_http2, mix) = (plan.http2, &plan.country_mix);
    let template = Template::new(
        plan.method.clone(),
        &plan.destination,
        &plan.headers,
        Bytes::from(vec![b'x'; plan.body_size as usize]),
        mix.as_ref(),
        is_http2,
    );
    Ok(Job {
        orders: Orders {
            arrivals: Arrivals::new(plan.rate, plan.length),
            timeout: plan.timeout,
            queue: plan.queue as usize,
            mix: mix.clone(),
            seed: plan.seed,
        },
        dialer: Dialer::new(plan)?,
        template: template.map_err(Failure::Usage)?,
        region: plan.region_header.clone(),
        is_http2,
        connections: plan.connections as usize,
        streams: plan.streams as usize,
        threads: plan.threads(),
    })
}

/// Runs it to its end: what was counted, and how long it took; `None` when it was stopped before
/// the first request was due.
async fn measure(
    plan: &Plan,
    job: &Job,
    terminal: &Terminal,
) -> Result<Option<(LoadTally, Duration)>, Failure> {
    let mut stop = Stop::new()?;
    let mut workers = Workers::start(job)?;
    let opened = tokio::select! {
        opened = opened(&mut workers, job.threads) => opened,
        () = stop.wanted() => return Ok(None),
    };
    match opened {
        (0, fault) => return Err(plan.unreachable(fault)),
        (open, Some(fault)) => terminal.say(&format!(
            "only {open} of {} could be opened, the others are tried again when they are needed: {}",
            plan.places(),
            fault.text
        )),
        (_, None) => {}
    }
    let start = Instant::now() + LEAD;
    workers.go(start);
    LiveLine::heading(terminal);
    let (mut live, mut all) = (LiveLine::default(), LoadTally::default());
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(start + second + TELLING, second);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut running = job.threads;
    while running > 0 {
        tokio::select! {
            update = workers.update() => match update {
                Some(Update::Second(tally, pending)) => {
                    live.include(&tally, pending);
                    all.include(&tally);
                }
                Some(Update::Over(tally)) => {
                    live.include(&tally, Pending::default());
                    all.include(&tally);
                    running -= 1;
                }
                Some(Update::Ready(..)) => {}
                None => break,
            },
            _ = seconds.tick() => live.end_second(terminal, start.elapsed().saturating_sub(TELLING)),
            () = stop.wanted() => workers.stop(),
        }
    }
    let elapsed = start.elapsed();
    live.end(terminal, elapsed);
    Ok(Some((all, elapsed)))
}

/// How many places for a request are open, and why the first that is not is not.
async fn opened(workers: &mut Workers, threads: usize) -> (usize, Option<RequestFault>) {
    let (mut all, mut first) = (0, None);
    for _ in 0..threads {
        if let Some(Update::Ready(open, fault)) = workers.update().await {
            all += open;
            first = first.or(fault);
        }
    }
    (all, first)
}
