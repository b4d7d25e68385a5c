//! `meridian demo`: a whole multi-region world in one process, and the faults to try in it.

mod control_flag;
mod fault;
mod watch;
mod welcome;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::board::Board;
use crate::board::journal::Follower;
use crate::cli::admin_client::asked_address;
use crate::cli::demo::fault::FaultCommand;
use crate::cli::demo::watch::{StreamFlags, Watch};
use crate::cli::demo::welcome::welcome;
use crate::cli::failure::Failure;
use crate::cli::options::Globals;
use crate::cli::run;
use crate::cli::terminal::Terminal;
use crate::demo::control::{Control, Whereabouts};
use crate::demo::files::{DemoFiles, WorldPlan};
use crate::demo::ports::FreePorts;
use crate::demo::region::SimulatedRegion;
use crate::demo::{Regions, default_regions};
use crate::load;
use meridian_core::change::{Change, Subject, What};
use meridian_core::health::rise_fall::Health;

/// How long the demo waits for its regions' first probes before it says what to try.
const PROBED_WITHIN: Duration = Duration::from_secs(3);

/// What a demo logs unless told otherwise. Regions that go and come are said in a line of their
/// own, so that what is logged of them does not drown the commands.
const LOG_FILTER: &str = "warn,meridian::board=error";

/// Simulated regions on loopback with real delays, and in front of them the proxy, with TLS on a
/// certificate made on the spot. Prints commands to paste. Ctrl-C ends it all.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  meridian demo\n  meridian demo watch\n  meridian demo fail eu-west-1\n  meridian demo slow us-east-1 eu-west-1\n  meridian demo pause us-east-1\n  meridian demo heal all"
)]
pub(crate) struct Demo {
    #[command(subcommand)]
    command: Option<DemoCommand>,
    /// Print the demo's configuration and end
    #[arg(long)]
    print_config: bool,
    /// Address of the proxy's two listeners
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// First TLS port to try
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 8443,
        hide_short_help = true
    )]
    https_port: u16,
    /// First plain port to try
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 8080,
        hide_short_help = true
    )]
    http_port: u16,
    /// First admin port to try
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9901,
        hide_short_help = true
    )]
    admin_port: u16,
    /// First port to try for setting faults
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9902,
        hide_short_help = true
    )]
    control_port: u16,
    /// First port to try for the simulated regions
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 9911,
        hide_short_help = true
    )]
    region_port: u16,
}

/// What is done with a running demo.
#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// Send requests and print what their viewers notice, a line a second
    Watch(Watch),
    /// Ask for pages that do not exist, 20 a second from one viewer, as a crawler does
    Crawl(StreamFlags),
    /// Send POSTs that take 2 s each, 20 a second from one viewer, as a nightly batch does
    Batch(StreamFlags),
    #[command(flatten)]
    Fault(FaultCommand),
}

impl Demo {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        match &self.command {
            Some(DemoCommand::Fault(command)) => command.run(terminal),
            Some(DemoCommand::Watch(watch)) => watch.run(globals, terminal),
            Some(DemoCommand::Crawl(crawl)) => crawl.crawl(globals, terminal),
            Some(DemoCommand::Batch(batch)) => batch.batch(globals, terminal),
            None if self.print_config => {
                let plan = self.wanted_plan();
                terminal.data(&plan.config_text(Path::new("demo.pem"), Path::new("demo.key")))
            }
            None => self.serve(globals, terminal),
        }
    }

    fn serve(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let mut held = FreePorts::default();
        let planned = self.plan(&mut held, terminal);
        let (mut plan, control) = planned.map_err(cannot_start)?;
        let regions = self.start_regions(terminal).map_err(cannot_start)?;
        // Until now, so that no region was given one of the proxy's.
        drop(held);
        plan.regions = named_ports(&regions);
        let world = DemoFiles::create(&plan).map_err(cannot_start)?;
        // Its warnings are not said: this file is the program's own, and says itself what it means.
        let config = load::read(&world.config())
            .map_err(|problems| Failure::Config(problems.render(terminal.talks_in_color())))?;
        run::start_logging(globals.log_filter_or(LOG_FILTER), globals, terminal)?;
        run::control_runtime()?.block_on(async {
            let whereabouts = Whereabouts {
                http: asked_address(plan.http),
                admin: plan.admin,
            };
            let control = Control::bind(control, regions.faults(), whereabouts)
                .await
                .map_err(cannot_start)?;
            let control_address = control.address().map_err(cannot_start)?;
            tokio::spawn(control.serve());
            let app = run::start(config, world.config(), terminal).await?;
            tokio::spawn(tell(app.board().journal().listen(), *terminal));
            // Late probes are no reason to keep anybody waiting.
            let _ = tokio::time::timeout(PROBED_WITHIN, all_probed(app.board())).await;
            terminal.data(&welcome(&plan, &regions, control_address, &world))?;
            run::serve(app, terminal).await
        })
    }

    /// The world as it is when no port is taken.
    fn wanted_plan(&self) -> WorldPlan {
        WorldPlan {
            https: SocketAddr::new(self.bind, self.https_port),
            http: SocketAddr::new(self.bind, self.http_port),
            admin: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.admin_port),
            regions: self.planned_regions(),
        }
    }

    /// The addresses of the proxy, its admin endpoint and the control, each free a moment ago.
    fn plan(
        &self,
        ports: &mut FreePorts,
        terminal: &Terminal,
    ) -> io::Result<(WorldPlan, SocketAddr)> {
        let mut address = |ip: IpAddr, wanted: u16, what: &str| {
            let port = ports.find(ip, wanted)?;
            say_moved(terminal, what, wanted, port);
            Ok::<_, io::Error>(SocketAddr::new(ip, port))
        };
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let plan = WorldPlan {
            https: address(self.bind, self.https_port, "the TLS listener")?,
            http: address(self.bind, self.http_port, "the plain listener")?,
            admin: address(loopback, self.admin_port, "the admin endpoint")?,
            regions: Vec::new(),
        };
        let control = address(loopback, self.control_port, "the control of faults")?;
        Ok((plan, control))
    }

    fn start_regions(&self, terminal: &Terminal) -> io::Result<Regions> {
        let mut free = FreePorts::default();
        let mut specs = default_regions();
        for (spec, (_, wanted)) in specs.iter_mut().zip(self.planned_regions()) {
            for (port, wanted) in spec.ports.iter_mut().zip(wanted) {
                *port = free.find(IpAddr::V4(Ipv4Addr::LOCALHOST), wanted)?;
                say_moved(terminal, &spec.name, wanted, *port);
            }
        }
        drop(free);
        Regions::start(&specs)
    }

    /// The ports one after the other, region by region.
    fn planned_regions(&self) -> Vec<(String, Vec<u16>)> {
        let step = u16::from(self.region_port != 0);
        let mut places = 0_u16..;
        let mut next = || {
            let place = places.next().unwrap_or_default();
            self.region_port.saturating_add(place * step)
        };
        let planned = default_regions().into_iter();
        planned
            .map(|spec| (spec.name, spec.ports.iter().map(|_| next()).collect()))
            .collect()
    }
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn cannot_start(error: io::Error) -> Failure {
    Failure::Failed(format!("the demo cannot start: {error}"))
}

fn say_moved(terminal: &Terminal, what: &str, wanted: u16, port: u16) {
    if wanted != 0 && port != wanted {
        terminal.say(&format!(
            "port {wanted} is taken: {what} moves on to {port}"
        ));
    }
}

fn named_ports(regions: &Regions) -> Vec<(String, Vec<u16>)> {
    let named = |region: &SimulatedRegion| (region.name().to_owned(), region.ports().to_vec());
    regions.all().iter().map(named).collect()
}

/// Waits until every region is known to serve, so that the first command that is pasted finds
/// the world as it was described.
async fn all_probed(board: &Board) {
    let mut revisions = board.revisions();
    let known = || {
        let live = board.live();
        let mut regions = live.snapshot.regions.iter();
        regions.all(|region| region.health == Health::Healthy)
    };
    while !known() && revisions.changed().await.is_ok() {}
}

/// Says each region that goes down or comes back, until the board ends.
async fn tell(mut changes: Follower, terminal: Terminal) {
    while let Some(timed) = changes.next().await {
        if let Some(line) = news(&timed.change) {
            terminal.say(&line);
        }
    }
}

/// The line for people; `None` for what is no news, such as the first probe of a region.
fn news(change: &Change) -> Option<String> {
    let (Subject::Region { region }, What::Health { from, to }) = (&change.subject, &change.what)
    else {
        return None;
    };
    let cause = &change.cause;
    match (from, to) {
        (_, Health::Unhealthy) => Some(format!("{region} is down: {cause}")),
        (Health::Unhealthy, _) => Some(format!("{region} is back: {cause}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use meridian_core::change::ChangeCause;

    use super::*;

    #[test]
    fn a_region_that_goes_or_comes_back_is_news_and_its_first_probe_is_not() {
        let line = |from, to| {
            news(&Change {
                subject: Subject::Region {
                    region: Arc::from("eu-west-1"),
                },
                what: What::Health { from, to },
                cause: ChangeCause::Suspicion,
            })
        };
        let down = Some("eu-west-1 is down: a request failed".to_owned());
        assert_eq!(line(Health::Healthy, Health::Unhealthy), down);
        let back = Some("eu-west-1 is back: a request failed".to_owned());
        assert_eq!(line(Health::Unhealthy, Health::Healthy), back);
        assert_eq!(line(Health::Unproven, Health::Healthy), None);
    }
}
