//! `meridian run`: the proxy, in the foreground.

use std::path::PathBuf;

use clap::Args;

use crate::app::{App, AppError};
use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;
use crate::cli::{Globals, LogFormat, config_file};
use crate::config::Config;
use crate::fittings::CANNOT_LISTEN;
use crate::telemetry::logging::{self, Form};

/// Runs until TERM or INT, then drains: `/readyz` answers 503, listeners close after
/// `drain.delay`, requests in flight get up to `drain.timeout`. HUP reloads.
#[derive(Debug, Args)]
#[command(after_help = "Example: meridian run -c /etc/meridian/meridian.toml")]
pub(crate) struct Run {}

impl Run {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let source = config_file::locate(globals)?;
        let config = config_file::load(&source, terminal)?;
        start_logging(globals.log_filter_or("info"), globals, terminal)?;
        control_runtime()?.block_on(async {
            let app = start(config, source, terminal).await?;
            terminal.say(&listening(&app));
            serve(app, terminal).await
        })
    }
}

/// Starts logging what `filter` lets through to standard error, in the form the flags ask for.
pub(crate) fn start_logging(
    filter: &str,
    globals: &Globals,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let for_people = match globals.log_format {
        Some(format) => format == LogFormat::Pretty,
        None => terminal.talks_to_a_person(),
    };
    let form = if for_people { Form::Pretty } else { Form::Json };
    logging::start(filter, form, terminal.talks_in_color())
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// Starts the proxy.
///
/// # Errors
/// When the configuration names something that cannot be used, or the system refuses.
pub(crate) async fn start(
    config: Config,
    source: PathBuf,
    terminal: &Terminal,
) -> Result<App, Failure> {
    App::start(config, source)
        .await
        .map_err(|error| match error {
            // A taken port is no mistake of the file's.
            AppError::Config(problems)
                if problems.list().iter().all(|one| one.code == CANNOT_LISTEN) =>
            {
                let messages = problems.list().iter().map(|one| one.message.clone());
                Failure::Failed(messages.collect::<Vec<_>>().join("\nmeridian: "))
            }
            AppError::Config(problems) => {
                Failure::Config(problems.render(terminal.talks_in_color()))
            }
            other => Failure::Failed(other.to_string()),
        })
}

/// Serves until the process is told to stop, and says how the drain went.
///
/// # Errors
/// When the system does not let signals be received.
pub(crate) async fn serve(app: App, terminal: &Terminal) -> Result<(), Failure> {
    let drained = app.serve_until_stopped().await;
    let drained =
        drained.map_err(|error| Failure::Failed(format!("cannot receive signals: {error}")))?;
    terminal.say(&format!("meridian: {drained}"));
    Ok(())
}

/// The line that is said once everything listens.
fn listening(app: &App) -> String {
    let addresses: Vec<_> = app.addresses().iter().map(ToString::to_string).collect();
    let admin = app
        .admin_address()
        .map_or_else(String::new, |admin| format!("; admin {admin}"));
    format!("meridian: listening at {}{admin}", addresses.join(", "))
}

/// The runtime of everything but the data plane, whose workers have their own.
pub(crate) fn control_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        // Probes, DNS, reload and admin are light; one thread may block on a file meanwhile.
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot start a runtime: {error}")))
}
