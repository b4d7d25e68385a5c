//! The command line: one definition, from which help, completions, the manual page and
//! `docs/cli.md` are made.

mod admin_change;
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
mod options;
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

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::failure::Failure;
use crate::cli::options::Globals;
use crate::cli::terminal::Terminal;

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
        CliCommand::Completions(completions) => completions.run(definition(), terminal),
        CliCommand::Man => man::run(definition(), terminal),
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
