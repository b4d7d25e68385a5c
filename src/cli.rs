//! The command line: one definition, from which help, completions, the manual page and
//! `docs/cli.md` are made.

mod admin_client;
mod bench;
mod completions;
mod config_file;
mod confirm;
mod counts;
mod demo;
mod explain;
mod failure;
mod geo;
mod healthcheck;
mod init;
mod man;
mod reload;
mod run;
mod schema;
mod status;
mod stop;
mod table;
mod terminal;
mod time;
mod validate;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::cli::admin_client::AdminTarget;
use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;
use crate::load;

/// Where a running proxy's admin endpoint is, when neither a flag nor a configuration says so.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:9901";

/// The top level's help: one screen of 24 lines, with the commands first. No blank line before the
/// options: there is none to spare.
const TEMPLATE: &str = "\
{about}
{usage-heading} {usage}

Commands:
{subcommands}
Options (all of them: --help):
{options}{after-help}";

const EXAMPLES: &str = "\
Examples:
  meridian demo                                  a multi-region world on this machine
  meridian init --preset cloudfront              a commented ./meridian.toml
  meridian validate                              everything wrong with it, with carets
  meridian run -c meridian.toml                  the proxy, in the foreground
  meridian explain --country DE --path /v1/x     where such a request would go, and why

Exit codes: 0 done, 1 failed, 2 usage, 78 configuration invalid.

try: meridian demo";

#[derive(Debug, Parser)]
#[command(
    name = "meridian",
    version,
    about = "Edge-side multi-region routing proxy",
    help_template = TEMPLATE,
    after_help = "try: meridian demo",
    after_long_help = EXAMPLES,
    disable_help_subcommand = true,
    disable_version_flag = true,
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    /// Print version
    #[arg(short = 'V', long, action = clap::ArgAction::Version, hide_short_help = true)]
    version: Option<bool>,
    #[command(subcommand)]
    command: Option<CliCommand>,
}

/// Flags that every command takes.
#[derive(Debug, Args)]
struct Globals {
    /// Configuration; else ./meridian.toml, /etc/meridian/...
    #[arg(short, long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A running proxy's admin endpoint
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MERIDIAN_ADMIN",
        hide_env_values = true
    )]
    admin: Option<AdminTarget>,
    /// Token of an admin endpoint that is not on loopback
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "MERIDIAN_ADMIN_TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    admin_token: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `meridian=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "MERIDIAN_LOG",
        hide_short_help = true
    )]
    log: Option<String>,
    /// How to log [default: pretty on a terminal, JSON elsewhere]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_short_help = true
    )]
    log_format: Option<LogFormat>,
    /// When to use colours; `NO_COLOR` is respected
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_short_help = true
    )]
    color: ColorChoice,
    /// Say nothing but errors
    #[arg(short, long, global = true, hide_short_help = true)]
    quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, hide_short_help = true)]
    verbose: u8,
}

impl Globals {
    /// The admin endpoint to talk to, and the token to show: as the flags say, else as the
    /// configuration says, else the usual one without a token. A configuration that cannot be read
    /// says nothing: the running proxy may still have the one before, and tells what is wrong.
    fn target(&self) -> AdminTarget {
        let target = self.admin.clone();
        let token = self.admin_token.clone();
        if let Some(target) = target {
            return target.with_token(token);
        }
        let file = config_file::locate(self).ok();
        let admin = file.and_then(|file| Some(load::read(&file).ok()?.admin));
        let configured = admin.as_ref().and_then(|admin| admin.address);
        let target = configured
            .and_then(AdminTarget::of_listener)
            .unwrap_or_else(|| DEFAULT_ADMIN.parse().expect("the default address is a URL"));
        let configured = admin.and_then(|admin| admin.token).map(|secret| secret.0);
        target.with_token(token.or(configured))
    }

    /// The log filter that the flags ask for together; `usual` when they ask for none.
    fn log_filter_or<'a>(&'a self, usual: &'a str) -> &'a str {
        match (&self.log, self.quiet, self.verbose) {
            (Some(filter), ..) => filter,
            (None, true, _) => "error",
            (None, false, 0) => usual,
            (None, false, 1) => "debug",
            (None, false, _) => "trace",
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Pretty,
    /// One object a line.
    Json,
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The flag of commands that print a table.
#[derive(Clone, Copy, Debug, Args)]
struct Output {
    /// How to print
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    format: OutputFormat,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run the proxy in the foreground
    Run(run::Run),
    /// Run simulated regions and a proxy on this machine
    Demo(demo::Demo),
    /// Check all that `run` would load
    Validate(validate::Validate),
    /// Show where a request goes, and why
    Explain(explain::Explain),
    /// Show what a running proxy believes
    Status(status::Status),
    /// Load the configuration again
    Reload(reload::Reload),
    /// Agree that a region gets its traffic back
    Confirm(confirm::Confirm),
    /// Measure a server under load from many countries
    #[command(long_about = bench::ABOUT)]
    Bench(Box<bench::Bench>),
    /// Write a commented configuration
    Init(init::Init),
    /// Ask the proxy whether it is ready: exit 0 or 1
    Healthcheck(healthcheck::Healthcheck),
    /// Print the configuration's JSON schema
    Schema,
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Print the manual page
    Man,
    /// Look up an address's country
    Geo(geo::Geo),
}

/// The command line's definition, for documents made from it.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}

/// Runs one command line, the program's name first, and returns the exit code: 0 done, 1 failed,
/// 2 usage, 78 configuration invalid.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error, &arguments),
    };
    let terminal = Terminal::new(cli.globals.color, cli.globals.quiet);
    let result = match cli.command {
        Some(command) => dispatch(command, &cli.globals, &terminal),
        None => terminal.data(&definition().render_help().ansi().to_string()),
    };
    match result {
        Ok(()) => 0,
        Err(failure) => {
            terminal.complain(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(command: CliCommand, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        CliCommand::Run(run) => run.run(globals, terminal),
        CliCommand::Demo(demo) => demo.run(globals, terminal),
        CliCommand::Validate(validate) => validate.run(globals, terminal),
        CliCommand::Explain(explain) => explain.run(globals, terminal),
        CliCommand::Status(status) => status.run(globals, terminal),
        CliCommand::Reload(reload) => reload.run(globals, terminal),
        CliCommand::Confirm(confirm) => confirm.run(globals, terminal),
        CliCommand::Bench(bench) => bench.run(terminal),
        CliCommand::Init(init) => init.run(globals, terminal),
        CliCommand::Healthcheck(healthcheck) => healthcheck.run(globals, terminal),
        CliCommand::Schema => schema::run(terminal),
        CliCommand::Completions(completions) => completions.run(terminal),
        CliCommand::Man => man::run(terminal),
        CliCommand::Geo(geo) => geo.run(globals, terminal),
    }
}

/// Prints what clap has to say and returns the exit code: 0 for help and version, 2 for a
/// mistake, but 1 for a mistake in a health check, where container engines reserve 2.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let printed = error.print();
    if !error.use_stderr() {
        return match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => 1,
            _ => 0,
        };
    }
    let lenient = definition().ignore_errors(true);
    let is_healthcheck = lenient
        .try_get_matches_from(arguments)
        .is_ok_and(|matches| matches.subcommand_name() == Some("healthcheck"));
    if is_healthcheck { 1 } else { 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn a_mistake_in_a_health_check_is_a_failure_not_a_usage_error() {
        let code = |line: &str| main(line.split(' ').map(OsString::from));
        assert_eq!(code("meridian healthcheck --nonsense"), 1);
        assert_eq!(code("meridian explain --host healthcheck --nonsense"), 2);
        assert_eq!(code("meridian nonsense"), 2);
    }
}
