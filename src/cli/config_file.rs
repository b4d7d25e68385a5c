//! Which configuration file a command means.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::cli::terminal::Terminal;
use crate::load;
use meridian_core::config::Config;

/// Where the configuration is looked for, in order, when no file is named.
const PLACES: [&str; 2] = ["./meridian.toml", "/etc/meridian/meridian.toml"];

/// The file that `-c` names, or the first that exists of the usual places.
///
/// # Errors
/// When none exists; the message names all that were tried.
pub(crate) fn locate(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let found = PLACES.iter().map(Path::new).find(|path| path.exists());
    found.map(Path::to_owned).ok_or_else(|| {
        let [first, second] = PLACES;
        Failure::Config(format!(
            "meridian: no configuration: neither {first} nor {second} exists\n\
             write one with `meridian init`, or name one with -c\n"
        ))
    })
}

/// Loads a file and says its warnings.
///
/// # Errors
/// When it is invalid; the failure holds every problem with its place.
pub(crate) fn load(path: &Path, terminal: &Terminal) -> Result<Config, Failure> {
    let color = terminal.talks_in_color();
    let config = load::read(path).map_err(|problems| Failure::Config(problems.render(color)))?;
    terminal.say_text(&config.render_warnings(color));
    Ok(config)
}
