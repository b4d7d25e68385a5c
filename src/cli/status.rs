//! `meridian status`: what a running proxy believes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use serde::Deserialize;

use crate::cli::Globals;
use crate::cli::ask::{Question, ask};
use crate::cli::failure::Failure;
use crate::cli::table::columns;
use crate::cli::terminal::Terminal;

/// One line per region: health, the operator's word, latency, endpoints.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian status\n  meridian status -o json --admin http://127.0.0.1:9901"
)]
pub(crate) struct Status {
    /// How to print
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: StatusFormat,
}

/// How the status is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StatusFormat {
    /// A line per region
    Table,
    /// With every endpoint's address
    Wide,
    /// As the admin endpoint says it
    Json,
}

/// The regions of the status, as the admin endpoint writes them.
#[derive(Debug, Deserialize)]
struct RegionRows {
    regions: Vec<RegionRow>,
}

#[derive(Debug, Deserialize)]
struct RegionRow {
    name: String,
    health: String,
    admin: String,
    latency_seconds: Option<f64>,
    #[serde(default)]
    endpoints: Vec<EndpointRow>,
}

#[derive(Debug, Deserialize)]
struct EndpointRow {
    address: String,
    health: String,
}

impl Status {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let target = globals.target();
        let question = Question {
            method: Method::GET,
            path: "/api/v1/status",
            accept: "application/json",
            limit: Duration::from_secs(5),
        };
        let answer = ask(&target, &question)?;
        if !answer.status.is_success() {
            let complaint = answer.complaint();
            return Err(Failure::Failed(format!("{target} refused: {complaint}")));
        }
        let foreign = || Failure::Failed(format!("{target} answered, but not as Meridian does"));
        let value = answer.json().ok_or_else(foreign)?;
        if self.output == StatusFormat::Json {
            return terminal.json(&value);
        }
        let rows: RegionRows = serde_json::from_value(value).map_err(|_| foreign())?;
        terminal.data(&table(&rows.regions, self.output == StatusFormat::Wide))
    }
}

fn table(regions: &[RegionRow], wide: bool) -> String {
    let mut heading: Vec<String> = ["REGION", "HEALTH", "ADMIN", "LATENCY", "ENDPOINTS"]
        .map(str::to_owned)
        .into();
    if wide {
        heading.push("ADDRESSES".to_owned());
    }
    let mut rows = vec![heading];
    for region in regions {
        let healthy = |endpoint: &&EndpointRow| endpoint.health == "healthy";
        let serving = region.endpoints.iter().filter(healthy).count();
        let latency = region.latency_seconds;
        let mut row = vec![
            region.name.clone(),
            region.health.clone(),
            region.admin.clone(),
            latency.map_or_else(
                || "-".to_owned(),
                |seconds| format!("{:.1} ms", seconds * 1e3),
            ),
            format!("{serving}/{}", region.endpoints.len()),
        ];
        if wide {
            let addresses: Vec<_> = region
                .endpoints
                .iter()
                .map(|endpoint| endpoint.address.as_str())
                .collect();
            row.push(addresses.join(" "));
        }
        rows.push(row);
    }
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_shows_its_latency_and_how_many_endpoints_are_healthy() {
        let json = r#"{"regions":[{"name":"eu","health":"healthy","admin":"auto",
            "latency_seconds":0.0405,"endpoints":[
            {"address":"10.0.0.1:443","health":"healthy"},
            {"address":"10.0.0.2:443","health":"unhealthy"}]},
            {"name":"us","health":"unproven","admin":"drained","latency_seconds":null}]}"#;
        let rows: RegionRows = serde_json::from_str(json).unwrap();
        assert_eq!(
            table(&rows.regions, true),
            "REGION  HEALTH    ADMIN    LATENCY  ENDPOINTS  ADDRESSES\n\
             eu      healthy   auto     40.5 ms  1/2        10.0.0.1:443 10.0.0.2:443\n\
             us      unproven  drained  -        0/0\n"
        );
    }
}
