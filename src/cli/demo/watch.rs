//! `meridian demo watch`, `crawl` and `batch`: a steady stream of requests to a running demo, and a
//! line a second about what became of them.

mod events;
mod report;
mod tally;
mod traffic;
mod viewer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, Method, Uri};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::admin::view::EventView;
use crate::cli::admin_client::AdminTarget;
use crate::cli::demo::control_flag::ControlFlag;
use crate::cli::demo::watch::report::Report;
use crate::cli::demo::watch::tally::{Sample, Tally, UnderWay};
use crate::cli::demo::watch::traffic::DemoTraffic;
use crate::cli::demo::watch::viewer::SimulatedViewers;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output};
use crate::cli::stop::Stop;
use crate::cli::terminal::Terminal;
use crate::cli::time::time;
use crate::demo::control::Whereabouts;

/// Requests a second of a crawler or a batch: enough to be noticed, beside the 50 of a watch.
const ONE_VIEWERS_RATE: u32 = 20;
/// Finished requests that may wait to be counted: more than finish while a line is printed.
const UNCOUNTED: usize = 4096;

/// Sends a request when it is due, however late the earlier ones are (every fifth is a POST), and
/// counts each wait from when it was due. A request is lost unless it gets a whole answer that is
/// no error. Changes of the proxy's belief are printed as they happen, and a summary at the end.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian demo watch\n  meridian demo watch --for 20s --country DE\n  meridian demo watch --rate 200 -o json"
)]
pub(crate) struct Watch {
    /// Requests a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The viewers' country
    #[arg(long, value_name = "CODE", value_parser = header)]
    country: Option<HeaderValue>,
    /// What they ask for
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    path: Uri,
    #[command(flatten)]
    stream: StreamFlags,
}

/// How long requests are sent, to which demo, and how they are shown.
#[derive(Debug, Args)]
pub(super) struct StreamFlags {
    /// How long; else until Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    length: Option<Duration>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    control: ControlFlag,
}

fn header(text: &str) -> Result<HeaderValue, String> {
    text.parse()
        .map_err(|_| format!("{text:?} cannot stand in a header"))
}

fn path(text: &str) -> Result<Uri, String> {
    let uri = text.parse().ok();
    uri.filter(|_| text.starts_with('/'))
        .ok_or_else(|| format!("{text:?} is not a path such as /records/7"))
}

impl Watch {
    pub(super) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let traffic = DemoTraffic::Usual {
            path: self.path.clone(),
            country: self.country.clone(),
        };
        self.stream.run(traffic, self.rate, globals, terminal)
    }
}

impl StreamFlags {
    /// Asks for pages that do not exist.
    pub(super) fn crawl(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        self.run(DemoTraffic::Crawl, ONE_VIEWERS_RATE, globals, terminal)
    }

    /// Sends what takes long.
    pub(super) fn batch(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        self.run(DemoTraffic::Batch, ONE_VIEWERS_RATE, globals, terminal)
    }

    fn run(
        &self,
        traffic: DemoTraffic,
        rate: u32,
        globals: &Globals,
        terminal: &Terminal,
    ) -> Result<(), Failure> {
        let whereabouts: Whereabouts = self.control.ask(Method::GET, "/world")?;
        let admin = match &globals.admin {
            Some(_) => globals.target(),
            None => AdminTarget::of_listener(whereabouts.admin).unwrap_or_else(|| globals.target()),
        };
        terminal.say(&format!(
            "{rate} requests a second to http://{}{}; Ctrl-C ends it",
            whereabouts.http,
            traffic.about()
        ));
        let viewers = SimulatedViewers::new(whereabouts.http, traffic);
        let report = Report::new(*terminal, self.output.format);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))?;
        runtime.block_on(async {
            let events = events::follow(admin, *terminal);
            let mut stop = Stop::new()?;
            let stream = RequestStream::start(rate, self.length, viewers);
            stream.watch(&report, events, &mut stop).await
        })
    }
}

/// A request's number, and what became of it.
type Ended = (u64, Sample);

/// The stream of requests: what is due next, what is under way, what became of the rest.
struct RequestStream {
    viewers: Arc<SimulatedViewers>,
    start: Instant,
    gap: Duration,
    /// When the last request is due, if ever.
    end: Option<Instant>,
    /// The number of the next request.
    next: u64,
    next_due: Instant,
    /// When each request was due that has not ended yet; the viewer's timeout bounds it.
    under_way: BTreeMap<u64, Instant>,
    ended: Sender<Ended>,
    all_ended: Receiver<Ended>,
    tally: Tally,
}

impl RequestStream {
    fn start(rate: u32, length: Option<Duration>, viewers: SimulatedViewers) -> Self {
        let start = Instant::now();
        let (ended, all_ended) = mpsc::channel(UNCOUNTED);
        Self {
            viewers: Arc::new(viewers),
            start,
            gap: Duration::from_secs(1) / rate,
            end: length.map(|length| start + length),
            next: 0,
            next_due: start,
            under_way: BTreeMap::new(),
            ended,
            all_ended,
            tally: Tally::default(),
        }
    }

    /// Sends and prints until the end, then waits for what is still under way.
    async fn watch(
        mut self,
        report: &Report,
        mut events: Receiver<EventView>,
        stop: &mut Stop,
    ) -> Result<(), Failure> {
        let second = Duration::from_secs(1);
        let mut seconds = interval_at(self.start + second, second);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        report.heading()?;
        while self.is_sending() || !self.under_way.is_empty() {
            tokio::select! {
                () = sleep_until(self.next_due), if self.is_sending() => self.send(),
                Some((number, sample)) = self.all_ended.recv() => {
                    self.under_way.remove(&number);
                    self.tally.count(sample);
                }
                Some(event) = events.recv() => report.event(self.start.elapsed(), &event)?,
                _ = seconds.tick() => {
                    let line = self.tally.end_second(&self.waiting());
                    report.second(self.start.elapsed(), &line)?;
                }
                () = stop.wanted() => break,
            }
        }
        // What became of the last ones belongs to a line as well.
        if let Some(line) = self.tally.end_partial_second(&self.waiting()) {
            report.second(self.start.elapsed(), &line)?;
        }
        let waiting = self.waiting();
        let summary = self.tally.summary(self.start.elapsed(), &waiting);
        report.summary(&summary)
    }

    fn is_sending(&self) -> bool {
        self.end.is_none_or(|end| self.next_due < end)
    }

    /// Sends what is due, all of it if this comes late.
    fn send(&mut self) {
        while self.is_sending() && self.next_due <= Instant::now() {
            let (number, due) = (self.next, self.next_due);
            self.next += 1;
            self.next_due += self.gap;
            self.under_way.insert(number, due);
            self.tally.sent(self.viewers.traffic.is_write(number));
            let (viewers, ended) = (Arc::clone(&self.viewers), self.ended.clone());
            tokio::spawn(async move {
                let sample = viewers.ask(number, due).await;
                // The receiver is gone when nobody wants to know any more.
                let _ = ended.send((number, sample)).await;
            });
        }
    }

    fn waiting(&self) -> UnderWay {
        let now = Instant::now();
        UnderWay {
            requests: self.under_way.len() as u64,
            oldest: self.under_way.values().next().map(|due| now - *due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_a_slash() {
        assert!(path("/a?b=c").is_ok());
        assert!(path("http://example.com/").is_err() && path("a").is_err());
    }
}
