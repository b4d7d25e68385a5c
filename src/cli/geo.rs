//! `meridian geo`: what the tables of addresses say.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::config_file;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
use crate::cli::table::columns;
use crate::cli::terminal::Terminal;
use crate::geo::{GeoInfo, GeoTable};

/// Uses the database that --geoip or the configuration names, then the built-in table.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian geo lookup 203.0.113.7\n  meridian geo info --geoip GeoLite2-Country.mmdb"
)]
pub(crate) struct Geo {
    #[command(subcommand)]
    command: GeoCommand,
}

#[derive(Debug, Subcommand)]
enum GeoCommand {
    /// Print the country of an address
    Lookup {
        /// The address
        ip: IpAddr,
        #[command(flatten)]
        database: DatabaseArg,
        #[command(flatten)]
        output: Output,
    },
    /// Print which tables there are, and how old they are
    Info {
        #[command(flatten)]
        database: DatabaseArg,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct DatabaseArg {
    /// A country or city database in MMDB format
    #[arg(long, value_name = "FILE")]
    geoip: Option<PathBuf>,
}

impl DatabaseArg {
    /// The database to use: the named one, or the configuration's if there is a configuration.
    fn path(&self, globals: &Globals, terminal: &Terminal) -> Result<Option<PathBuf>, Failure> {
        if self.geoip.is_some() {
            return Ok(self.geoip.clone());
        }
        match config_file::locate(globals.config.as_deref()) {
            Ok(path) => Ok(config_file::load(&path, terminal)?.viewer.geoip),
            Err(_) => Ok(None),
        }
    }
}

impl Geo {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        match &self.command {
            GeoCommand::Lookup {
                ip,
                database,
                output,
            } => {
                let path = database.path(globals, terminal)?;
                let found = tables(path.as_deref())?.country(*ip);
                let country = found.map(|(country, _)| country.to_string());
                let source = found.map(|(_, source)| source.label());
                match (output.format, country, source) {
                    (OutputFormat::Json, country, source) => terminal.json(&json!({
                        "ip": ip,
                        "country": country,
                        "source": source,
                    })),
                    (OutputFormat::Table, Some(country), Some(source)) => {
                        terminal.data(&format!("{country}  {source}\n"))
                    }
                    (OutputFormat::Table, ..) => Err(Failure::Failed(format!(
                        "no table knows the country of {ip}"
                    ))),
                }
            }
            GeoCommand::Info { database, output } => {
                let path = database.path(globals, terminal)?;
                let info = tables(path.as_deref())?.info();
                match output.format {
                    OutputFormat::Table => terminal.data(&table(&info)),
                    OutputFormat::Json => terminal.json(&json(&info)),
                }
            }
        }
    }
}

fn tables(database: Option<&Path>) -> Result<GeoTable, Failure> {
    GeoTable::load(database).map_err(|error| Failure::Failed(error.to_string()))
}

fn table(info: &GeoInfo) -> String {
    let mut rows = vec![
        ["TABLE", "BUILT", "RANGES", "MEMORY"]
            .map(str::to_owned)
            .to_vec(),
    ];
    if let Some(database) = &info.database {
        rows.push(vec![
            format!("{} ({})", database.path.display(), database.kind),
            date(database.built),
            (database.ranges_v4 + database.ranges_v6).to_string(),
            format!("{} KiB", database.memory_bytes / 1024),
        ]);
    }
    if let Some(built) = info.builtin_built {
        rows.push(vec![
            "built-in".to_owned(),
            date(built),
            "-".to_owned(),
            "-".to_owned(),
        ]);
    }
    columns(&rows)
}

/// The day, as HTTP dates write it: short and unambiguous.
fn date(since_1970: Duration) -> String {
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_1970);
    date.get(5..16).unwrap_or(&date).to_owned()
}

fn json(info: &GeoInfo) -> Value {
    let database = info.database.as_ref().map(|database| {
        json!({
            "path": database.path,
            "kind": database.kind,
            "built_unix_seconds": database.built.as_secs(),
            "ranges_v4": database.ranges_v4,
            "ranges_v6": database.ranges_v6,
            "memory_bytes": database.memory_bytes,
        })
    });
    let built = info.builtin_built.map(|built| built.as_secs());
    json!({ "database": database, "builtin": { "built_unix_seconds": built } })
}
