//! `meridian run`: the proxy, in the foreground.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::app::{App, AppError};
use crate::cli::config_file;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, LogFormat};
use crate::cli::terminal::Terminal;
use crate::resources::CANNOT_LISTEN;
use crate::state::last_good::LastGood;
use crate::telemetry::logging::{self, Form};
use meridian_core::config::Config;

/// Where systemd's `StateDirectory=meridian` is, and the example's `state.dir`.
const USUAL_STATE_DIR: &str = "/var/lib/meridian";

/// Runs until TERM or INT, then drains: `/readyz` answers 503, listeners close after
/// `drain.delay`, requests in flight get up to `drain.timeout`. HUP reloads.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian run -c /etc/meridian/meridian.toml\n  meridian run --last-good"
)]
pub(crate) struct Run {
    /// If the configuration is invalid, start with the one that served last, which is kept in the
    /// state directory DIR; without this, an invalid one ends the program with 78
    #[arg(
        long,
        value_name = "DIR",
        num_args = 0..=1,
        default_missing_value = USUAL_STATE_DIR
    )]
    last_good: Option<PathBuf>,
}

/// For unfinished file work when everything else has ended.
const LAST_WORK: Duration = Duration::from_secs(1);

impl Run {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let written = config_file::locate(globals.config.as_deref())
            .and_then(|source| Ok((config_file::load(&source, terminal)?, source)));
        // Without a way out there is nothing to log before the refusal.
        let written = match (written, &self.last_good) {
            (Err(refusal), None) => return Err(refusal),
            (written, _) => written,
        };
        start_logging(globals.log_filter_or("info"), globals, terminal)?;
        let runtime = control_runtime()?;
        let outcome = runtime.block_on(async {
            let started = match written {
                Ok((config, source)) => start(config, source, terminal).await,
                Err(refusal) => Err(refusal),
            };
            let app = match (started, &self.last_good) {
                (Err(Failure::Config(problems)), Some(dir)) => {
                    start_last_good(dir, &problems, terminal).await?
                }
                (started, _) => started?,
            };
            terminal.say(&listening(&app));
            serve(app, terminal).await
        });
        // Work that a hung disk holds up must not hold up the end.
        runtime.shutdown_timeout(LAST_WORK);
        outcome
    }
}

/// Starts with the configuration that `dir` keeps, because the one that is written has `problems`.
/// It is looked for where it is written from then on, as after a reload that was refused.
async fn start_last_good(dir: &Path, problems: &str, terminal: &Terminal) -> Result<App, Failure> {
    let color = terminal.talks_in_color();
    let none = |why: String| {
        let text = format!("{problems}meridian: no last good configuration either: {why}\n");
        Failure::Config(text)
    };
    let kept = LastGood::read(dir).map_err(|error| none(error.to_string()))?;
    let config = kept
        .load()
        .map_err(|problems| none(format!("\n{}", problems.render(color))))?;
    terminal.say_text(problems);
    terminal.say("meridian: starting with the configuration that served last instead");
    tracing::error!(
        dir = %dir.display(),
        "the configuration is invalid; the one that served last is used instead"
    );
    let app = start(config, kept.main().to_owned(), terminal).await?;
    // Whoever watches sees a configuration that was refused; one mended meanwhile serves.
    app.reload().await;
    Ok(app)
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
    let app = App::start(config, source)
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
        })?;
    // Only where this process has one already is it refused, and that one counts for it then.
    let _ = metrics::set_global_recorder(Arc::clone(app.metrics()));
    Ok(app)
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
