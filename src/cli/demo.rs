//! `meridian demo`: a whole multi-region world in one process, and the faults to try in it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::apply::Transition;
use crate::board::{Board, TimedTransition};
use crate::cli::ask::{Question, Target, ask};
use crate::cli::failure::Failure;
use crate::cli::table::columns;
use crate::cli::terminal::Terminal;
use crate::cli::{DEFAULT_ADMIN, Globals, run};
use crate::demo::control::Control;
use crate::demo::fault::Fault;
use crate::demo::ports::FreePorts;
use crate::demo::world::{World, WorldPlan};
use crate::demo::{Regions, default_regions};
use crate::health::state::Health;
use crate::load;

/// How long the demo waits for its regions' first probes before it says what to try.
const PROBED_WITHIN: Duration = Duration::from_secs(3);

/// What a demo logs unless told otherwise. Regions that go and come are said in a line of their
/// own, so that what is logged of them does not drown the commands.
const LOG_FILTER: &str = "warn,meridian::board=error";

/// Where a demo's faults are set, unless that port was taken.
const DEFAULT_CONTROL: &str = "http://127.0.0.1:9902";

/// Simulated regions on loopback with real delays, and in front of them the proxy, with TLS on a
/// certificate made on the spot. Prints commands to paste. Ctrl-C ends it all.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  meridian demo\n  meridian demo fail eu-west-1\n  meridian demo heal eu-west-1"
)]
pub(crate) struct Demo {
    #[command(subcommand)]
    fault: Option<FaultCommand>,
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

/// A fault to set in a running demo.
#[derive(Debug, Subcommand)]
enum FaultCommand {
    /// Refuse connections and reset the open ones
    Fail(FaultTarget),
    /// Answer 2 s late; the health check stays quick
    Slow(FaultTarget),
    /// Accept connections and never answer
    Hang(FaultTarget),
    /// Answer 503 to everything but the health check
    Gray(FaultTarget),
    /// Be well again
    Heal(FaultTarget),
}

#[derive(Debug, Args)]
struct FaultTarget {
    /// A region of the demo
    region: String,
    /// Where the demo takes faults; it prints this when it starts
    #[arg(
        long,
        value_name = "URL",
        env = "MERIDIAN_DEMO_CONTROL",
        hide_env_values = true,
        default_value = DEFAULT_CONTROL
    )]
    control: Target,
}

impl Demo {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        match &self.fault {
            Some(command) => command.run(terminal),
            None if self.print_config => {
                let plan = self.wanted_plan();
                terminal.data(&plan.config_text(Path::new("demo.pem"), Path::new("demo.key")))
            }
            None => self.serve(globals, terminal),
        }
    }

    fn serve(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let (mut plan, control) = self.plan(terminal).map_err(cannot_start)?;
        let regions = self.start_regions(terminal).map_err(cannot_start)?;
        plan.regions = named_ports(&regions);
        let world = World::create(&plan).map_err(cannot_start)?;
        // Its warnings are not said: this file is the program's own, and says itself what it means.
        let config = load::read(&world.config())
            .map_err(|problems| Failure::Config(problems.render(terminal.talks_in_color())))?;
        run::start_logging(globals.log_filter_or(LOG_FILTER), globals, terminal)?;
        run::control_runtime()?.block_on(async {
            let control = Control::bind(control, regions.faults())
                .await
                .map_err(cannot_start)?;
            let control_address = control.address().map_err(cannot_start)?;
            tokio::spawn(control.serve());
            let app = run::start(config, world.config(), terminal).await?;
            tokio::spawn(tell(app.board().transitions(), *terminal));
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
    fn plan(&self, terminal: &Terminal) -> io::Result<(WorldPlan, SocketAddr)> {
        let mut ports = FreePorts::default();
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
        let mut ports = FreePorts::default();
        let mut specs = default_regions();
        for (spec, (_, wanted)) in specs.iter_mut().zip(self.planned_regions()) {
            spec.port = ports.find(IpAddr::V4(Ipv4Addr::LOCALHOST), wanted)?;
            say_moved(terminal, &spec.name, wanted, spec.port);
        }
        drop(ports);
        Regions::start(&specs)
    }

    fn planned_regions(&self) -> Vec<(String, u16)> {
        let step = u16::from(self.region_port != 0);
        default_regions()
            .into_iter()
            .zip(0_u16..)
            .map(|(spec, place)| (spec.name, self.region_port.saturating_add(place * step)))
            .collect()
    }
}

impl FaultCommand {
    fn run(&self, terminal: &Terminal) -> Result<(), Failure> {
        let (word, fault, target) = match self {
            Self::Fail(target) => ("fail", Fault::Fail, target),
            Self::Slow(target) => ("slow", Fault::Slow, target),
            Self::Hang(target) => ("hang", Fault::Hang, target),
            Self::Gray(target) => ("gray", Fault::Gray, target),
            Self::Heal(target) => ("heal", Fault::None, target),
        };
        let region = crate::cli::ask::query_encoded(&target.region);
        let question = Question {
            method: Method::POST,
            path: &format!("/regions/{region}/{word}"),
            accept: "application/json",
            limit: Duration::from_secs(5),
        };
        let answer = ask(&target.control, &question)?;
        if !answer.status.is_success() {
            return Err(Failure::Failed(answer.complaint()));
        }
        terminal.say(&format!("{} {}", target.region, fault.describe()));
        Ok(())
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

fn named_ports(regions: &Regions) -> Vec<(String, u16)> {
    let named = |region: &crate::demo::region::Region| (region.name().to_owned(), region.port());
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
async fn tell(mut transitions: Receiver<Arc<TimedTransition>>, terminal: Terminal) {
    loop {
        match transitions.recv().await {
            Ok(timed) => {
                if let Some(line) = news(&timed.transition) {
                    terminal.say(&line);
                }
            }
            // It fell behind: what is missed here, `status` shows.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// The line for people; `None` for what is no news, such as the first probe of a region.
fn news(transition: &Transition) -> Option<String> {
    let Transition::Region {
        region,
        from,
        to,
        cause,
    } = transition
    else {
        return None;
    };
    match (from, to) {
        (_, Health::Unhealthy) => Some(format!("{region} is down: {cause}")),
        (Health::Unhealthy, _) => Some(format!("{region} is back: {cause}")),
        _ => None,
    }
}

/// How this program is called in commands to paste: by its name where the search path leads to
/// it, else by the file that runs now.
fn own_command() -> String {
    let Ok(own) = std::env::current_exe() else {
        return "meridian".to_owned();
    };
    let is_own = |file: PathBuf| file.canonicalize().is_ok_and(|file| file == own);
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The first of that name is the one a shell takes.
    let first = std::env::split_paths(&path)
        .map(|folder| folder.join("meridian"))
        .find(|file| file.is_file());
    if first.is_some_and(is_own) {
        "meridian".to_owned()
    } else {
        shell_word(&own.display().to_string())
    }
}

/// The text as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/+@%:,=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What the demo prints once it serves.
fn welcome(plan: &WorldPlan, regions: &Regions, control: SocketAddr, world: &World) -> String {
    let mut rows = vec![["REGION", "DELAY", "ADDRESS"].map(str::to_owned).to_vec()];
    for region in regions.all() {
        rows.push(vec![
            region.name().to_owned(),
            format!("{} ms", region.delay().as_millis()),
            format!("127.0.0.1:{}", region.port()),
        ]);
    }
    let admin = format!("http://{}", plan.admin);
    let admin_flag = flag_unless("--admin", &admin, DEFAULT_ADMIN);
    let control = format!("http://{control}");
    let control_flag = flag_unless("--control", &control, DEFAULT_CONTROL);
    let https = format!("https://{}/", shown_host(plan.https));
    let http = format!("http://{}/", shown_host(plan.http));
    let config = world.config();
    let (config, certificate) = (config.display(), world.certificate());
    let certificate = certificate.display();
    let regions = columns(&rows);
    let meridian = own_command();
    format!(
        "{regions}\n\
         proxy   {https}  {http}\n\
         admin   {admin}\n\
         config  {config} (edit it: it reloads; certificate: {certificate})\n\n\
         Try, in another terminal:\n  \
         curl -k {https}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: JP' {https}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: DE' {https}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: DE' {https}records/7\n  \
         {meridian} explain --live --country BR --path /{admin_flag}\n  \
         {meridian} demo fail eu-west-1{control_flag}\n  \
         curl -k -i -H 'CloudFront-Viewer-Country: DE' {https}\n  \
         {meridian} status{admin_flag}\n  \
         {meridian} demo heal eu-west-1{control_flag}    (its viewers return in steps, for 11 s)\n\n\
         Ctrl-C ends everything.\n"
    )
}

/// The flag with its value, where the default would not do.
fn flag_unless(flag: &str, value: &str, default: &str) -> String {
    if value == default {
        String::new()
    } else {
        format!(" {flag} {value}")
    }
}

/// The address as a client on this machine writes it.
fn shown_host(address: SocketAddr) -> String {
    if address.ip().is_loopback() || address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_that_goes_or_comes_back_is_news_and_its_first_probe_is_not() {
        let line = |from, to| {
            news(&Transition::Region {
                region: Arc::from("eu-west-1"),
                from,
                to,
                cause: "connection refused".to_owned(),
            })
        };
        let down = Some("eu-west-1 is down: connection refused".to_owned());
        assert_eq!(line(Health::Healthy, Health::Unhealthy), down);
        let back = Some("eu-west-1 is back: connection refused".to_owned());
        assert_eq!(line(Health::Unhealthy, Health::Healthy), back);
        assert_eq!(line(Health::Unproven, Health::Healthy), None);
    }

    #[test]
    fn a_path_with_spaces_or_quotes_is_one_word_of_a_shell() {
        assert_eq!(shell_word("/opt/bin/meridian"), "/opt/bin/meridian");
        assert_eq!(shell_word("/my apps/it's"), r"'/my apps/it'\''s'");
    }
}
