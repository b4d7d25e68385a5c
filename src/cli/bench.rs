//! `meridian bench`: an open-loop load generator whose viewers come from many countries.

mod alarm;
mod backlog;
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

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderName, Method};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::cli::bench::arrivals::Arrivals;
use crate::cli::bench::destination::Destination;
use crate::cli::bench::dialer::{Dialer, Trust};
use crate::cli::bench::dispatch_queue::Pending;
use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::live::LiveLine;
use crate::cli::bench::mix::CountryMix;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::report::LoadReport;
use crate::cli::bench::tally::LoadTally;
use crate::cli::bench::template::{HeaderField, Template, method};
use crate::cli::bench::worker::{Orders, Update};
use crate::cli::bench::workers::{Job, Workers};
use crate::cli::failure::Failure;
use crate::cli::options::{Output, OutputFormat};
use crate::cli::stop::Stop;
use crate::cli::terminal::Terminal;
use crate::cli::time::time;
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
    /// Where to: http://HOST[:PORT][/PATH] or https://...
    #[arg(value_name = "URL")]
    destination: Destination,
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    /// How long; Ctrl-C ends it earlier
    #[arg(long = "for", alias = "duration", value_name = "TIME", default_value = "10s", value_parser = time)]
    length: Duration,
    /// Connections, kept and opened again when they close
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    connections: u32,
    /// Speak HTTP/2: over TLS by ALPN, without TLS by prior knowledge
    #[arg(long)]
    http2: bool,
    /// Requests at a time on each connection of HTTP/2
    #[arg(long, value_name = "N", default_value_t = 1, requires = "http2", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    streams: u32,
    /// The viewers' countries by weight: world, eu (as many people use the Internet there), or a
    /// list such as DE=30,JP=20,US=50. Sent as CloudFront-Viewer-Country
    #[arg(long, value_name = "MIX", value_parser = CountryMix::parse)]
    country_mix: Option<CountryMix>,
    /// Another number gives other viewers, the same number the same ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How to ask
    #[arg(long, value_name = "METHOD", default_value = "GET", value_parser = method)]
    method: Method,
    /// A header of each request; may be given more than once
    #[arg(long = "header", value_name = "'KEY: VALUE'", value_parser = HeaderField::parse)]
    headers: Vec<HeaderField>,
    /// Bytes of each request's body
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=64 << 20))]
    body_size: u32,
    /// When a request is given up, counted from when it was due
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    timeout: Duration,
    /// Requests that may wait for a connection
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    queue: u32,
    /// Whom to trust instead of the system's authorities
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long)]
    insecure: bool,
    /// The answer's header that names the region which served
    #[arg(long, value_name = "NAME", default_value = "x-demo-region")]
    region_header: HeaderName,
    /// Threads that send; one sends tens of thousands of requests a second
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    #[command(flatten)]
    output: Output,
}

impl Bench {
    pub(crate) fn run(&self, terminal: &Terminal) -> Result<(), Failure> {
        if !self.destination.is_tls && (self.insecure || self.ca.is_some()) {
            let text = "--ca and --insecure are about certificates: use an https URL";
            return Err(Failure::Usage(text.to_owned()));
        }
        // Where the limit is too low all the same, the error says so.
        let _ = raise_limit();
        let plan = self.plan();
        let job = self.job(&plan)?;
        terminal.say(&format!("{}; Ctrl-C ends it", plan.summary()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
        let ended = runtime.block_on(measure(&plan, &job, terminal))?;
        let Some((tally, elapsed)) = ended else {
            return Err(Failure::Failed("stopped before it began".to_owned()));
        };
        let report = LoadReport {
            plan: &plan,
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

    fn plan(&self) -> Plan {
        let connections = self.connections as usize;
        Plan {
            destination: self.destination.clone(),
            method: self.method.clone(),
            rate: self.rate,
            length: self.length,
            connections,
            streams: self.streams as usize,
            // Each has one connection at least.
            threads: usize::from(self.threads).min(connections),
            is_http2: self.http2,
            timeout: self.timeout,
            queue: self.queue as usize,
            mix: self.country_mix.clone(),
            seed: self.seed,
        }
    }

    fn job(&self, plan: &Plan) -> Result<Job, Failure> {
        let trust = match (&self.ca, self.insecure) {
            (Some(file), _) => Trust::Authority(file.clone()),
            (None, true) => Trust::Anyone,
            (None, false) => Trust::System,
        };
        let template = Template::new(
            plan.method.clone(),
            &plan.destination,
            &self.headers,
            Bytes::from(vec![b'x'; self.body_size as usize]),
            plan.mix.as_ref(),
            plan.is_http2,
        );
        Ok(Job {
            orders: Orders {
                arrivals: Arrivals::new(plan.rate, plan.length),
                timeout: plan.timeout,
                queue: plan.queue,
                mix: plan.mix.clone(),
                seed: plan.seed,
            },
            dialer: Dialer::new(&plan.destination, &trust, plan.is_http2, plan.timeout)?,
            template: template.map_err(Failure::Usage)?,
            region: self.region_header.clone(),
            is_http2: plan.is_http2,
            connections: plan.connections,
            streams: plan.streams,
            threads: plan.threads,
        })
    }
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
        opened = opened(&mut workers, plan.threads) => opened,
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
    let mut running = plan.threads;
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
