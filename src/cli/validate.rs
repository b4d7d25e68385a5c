//! `meridian validate`: everything `run` would load, without opening a listener.

use std::path::Path;
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use crate::cli::config_file;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
use crate::cli::terminal::Terminal;
use crate::clock::Clock;
use crate::load;
use crate::resources::BuildContext;
use crate::telemetry::metrics::MetricsRegistry;
use meridian_core::config::Config;
use meridian_core::config::problems::Problems;

/// Certificates, databases and networks are loaded too. Exits with 78 when anything is wrong.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian validate -c meridian.toml\n  meridian validate -o json | jq '.problems[].message'"
)]
pub(crate) struct Validate {
    #[command(flatten)]
    output: Output,
}

impl Validate {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let path = config_file::locate(globals.config.as_deref())?;
        let loaded = load_all(&path);
        let color = terminal.talks_in_color();
        match (loaded, self.output.format) {
            (Ok(loaded), OutputFormat::Table) => {
                if !loaded.warnings.list().is_empty() {
                    terminal.say_text(&loaded.warnings.render(color));
                }
                terminal.data(&format!("{}: OK: {}\n", path.display(), summary(&loaded)))
            }
            (Ok(Loaded { config, warnings }), OutputFormat::Json) => terminal.json(&json!({
                "valid": true,
                "file": path,
                "listeners": config.listeners.len(),
                "regions": config.table.regions.len(),
                "routes": config.table.routes.len(),
                "problems": warnings.placed(),
            })),
            (Err(refused), OutputFormat::Table) => Err(Failure::Config(refused.render(color))),
            (Err(refused), OutputFormat::Json) => {
                terminal.json(&json!({
                    "valid": false,
                    "file": path,
                    "problems": refused.placed(),
                }))?;
                // The problems are in the data; what is said is only their number.
                Err(Failure::Config(format!("{}\n", refused.summary())))
            }
        }
    }
}

/// Loads all that `run` would, but opens no listener. The warnings of what was opened join those
/// of the file.
fn load_all(path: &Path) -> Result<Loaded, Problems> {
    let now = Clock::start().wall();
    let context = BuildContext {
        registry: &MetricsRegistry::default(),
        workers: 1,
        now,
        binds: false,
        before: None,
    };
    let resources = load::build(path, context).map_err(|refusal| refusal.problems)?;
    let mut warnings = resources.config.warnings.clone();
    warnings.extend(resources.warnings(now));
    let warnings = resources.config.problems(warnings);
    Ok(Loaded {
        config: Arc::clone(&resources.config),
        warnings,
    })
}

/// A valid configuration, and what is worth a warning of it and of what it names.
struct Loaded {
    config: Arc<Config>,
    warnings: Problems,
}

fn summary(Loaded { config, warnings }: &Loaded) -> String {
    let parts = [
        counted(config.listeners.len(), "listener"),
        counted(config.table.regions.len(), "region"),
        counted(config.table.routes.len(), "route"),
        counted(warnings.list().len(), "warning"),
    ];
    parts.join(", ")
}

fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
