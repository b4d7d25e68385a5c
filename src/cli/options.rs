//! Flags that several commands take.

use std::path::PathBuf;

use clap::{Args, ColorChoice, ValueEnum};

use crate::cli::admin_client::AdminTarget;
use crate::cli::config_file;
use crate::load;

/// Where a running proxy's admin endpoint is, when neither a flag nor a configuration says so.
pub(crate) const DEFAULT_ADMIN: &str = "http://127.0.0.1:9901";

/// Flags that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// Configuration; else ./meridian.toml, /etc/meridian/...
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A running proxy's admin endpoint
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "MERIDIAN_ADMIN",
        hide_env_values = true
    )]
    pub(crate) admin: Option<AdminTarget>,
    /// Token of an admin endpoint that is not on loopback
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "MERIDIAN_ADMIN_TOKEN",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) admin_token: Option<String>,
    /// What to log: error, warn, info, debug, trace, or a filter such as `meridian=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "MERIDIAN_LOG",
        hide_short_help = true
    )]
    pub(crate) log: Option<String>,
    /// How to log [default: pretty on a terminal, JSON elsewhere]
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        hide_short_help = true
    )]
    pub(crate) log_format: Option<LogFormat>,
    /// When to use colours; `NO_COLOR` is respected
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_short_help = true
    )]
    pub(crate) color: ColorChoice,
    /// Say nothing but errors
    #[arg(short, long, global = true, hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, hide_short_help = true)]
    pub(crate) verbose: u8,
}

impl Globals {
    /// The admin endpoint to talk to, and the token to show: as the flags say, else as the
    /// configuration says, else the usual one without a token. A configuration that cannot be read
    /// says nothing: the running proxy may still have the one before, and tells what is wrong.
    pub(crate) fn target(&self) -> AdminTarget {
        let target = self.admin.clone();
        let token = self.admin_token.clone();
        if let Some(target) = target {
            return target.with_token(token);
        }
        let file = config_file::locate(self.config.as_deref()).ok();
        let admin = file.and_then(|file| Some(load::read(&file).ok()?.admin));
        let configured = admin.as_ref().and_then(|admin| admin.address);
        let target = configured
            .and_then(AdminTarget::of_listener)
            .unwrap_or_else(|| DEFAULT_ADMIN.parse().expect("the default address is a URL"));
        let configured = admin.and_then(|admin| admin.token).map(|secret| secret.0);
        target.with_token(token.or(configured))
    }

    /// The log filter that the flags ask for together; `usual` when they ask for none.
    pub(crate) fn log_filter_or<'a>(&'a self, usual: &'a str) -> &'a str {
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
pub(crate) enum LogFormat {
    /// For people.
    Pretty,
    /// One object a line.
    Json,
}

/// How a command prints its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// The flag of commands that print a table.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How to print
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) format: OutputFormat,
}
