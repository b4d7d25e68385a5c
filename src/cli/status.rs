//! `meridian status`: what a running proxy believes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use http::Method;
use serde::Deserialize;

use crate::admin::view::{EndpointView, RegionView};
use crate::cli::admin_client::{AdminRequest, ask};
use crate::cli::failure::Failure;
use crate::cli::options::Globals;
use crate::cli::table::columns;
use crate::cli::terminal::Terminal;

/// One line per region: health, the operator's word, how far its return is and since when,
/// latency, endpoints. Below, why those are so that are not as usual.
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

/// What a table shows of the status that the admin endpoint writes.
#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(default)]
    correlated_failure: bool,
    regions: Vec<RegionView>,
}

impl Status {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let target = globals.target();
        let question = AdminRequest {
            method: Method::GET,
            path: "/api/v1/status",
            limit: Duration::from_secs(5),
        };
        let answer = ask(&target, &question)?.success(&target)?;
        let value = answer.json().ok_or_else(|| target.foreign())?;
        if self.output == StatusFormat::Json {
            return terminal.json(&value);
        }
        let shown: Shown = serde_json::from_value(value).map_err(|_| target.foreign())?;
        terminal.data(&page(&shown, self.output == StatusFormat::Wide))
    }
}

/// The table, and below it what deserves a word.
fn page(shown: &Shown, wide: bool) -> String {
    let remarks = remarks(shown);
    let gap = if remarks.is_empty() { "" } else { "\n" };
    format!("{}{gap}{remarks}", table(&shown.regions, wide))
}

fn table(regions: &[RegionView], wide: bool) -> String {
    let mut heading: Vec<String> = [
        "REGION",
        "HEALTH",
        "ADMIN",
        "STAGE",
        "SINCE",
        "LATENCY",
        "ENDPOINTS",
    ]
    .map(str::to_owned)
    .into();
    if wide {
        heading.push("ADDRESSES".to_owned());
    }
    let mut rows = vec![heading];
    for region in regions {
        let healthy = |endpoint: &&EndpointView| endpoint.health == "healthy";
        let serving = region.endpoints.iter().filter(healthy).count();
        let absent = || "-".to_owned();
        let latency = region.latency_seconds;
        let mut row = vec![
            region.name.clone(),
            region.health.clone(),
            region.admin.clone(),
            stage_text(
                &region.stage,
                region.share_percent,
                region.hold_down_left_seconds,
            ),
            region.changed_seconds_ago.map_or_else(absent, span),
            latency.map_or_else(absent, |seconds| format!("{:.1} ms", seconds * 1e3)),
            format!("{serving}/{}", region.endpoints.len()),
        ];
        if wide {
            let endpoints = region.endpoints.iter();
            let addresses = endpoints.map(|endpoint| endpoint.address.to_string());
            row.push(addresses.collect::<Vec<_>>().join(" "));
        }
        rows.push(row);
    }
    columns(&rows)
}

/// A line for each thing that is not as usual, with its reason.
fn remarks(shown: &Shown) -> String {
    let mut lines = Vec::new();
    if shown.correlated_failure {
        lines.push(CORRELATED_WITHIN.to_owned());
    }
    for region in &shown.regions {
        let name = &region.name;
        let usual = region.health == "healthy" && region.admin == "auto" && region.stage == "full";
        if let (false, Some(cause)) = (usual, &region.cause) {
            lines.push(format!("{name}: {cause}"));
        }
        for own in &region.routes {
            let stage = stage_text(&own.stage, own.share_percent, None);
            lines.push(format!("{name} on route {}: {stage}", own.route));
        }
    }
    lines.iter().map(|line| shortened(line) + "\n").collect()
}

/// What it means that all regions fell together.
const CORRELATED_WITHIN: &str =
    "all regions fell together: most likely the fault is on this side, so none is out";

/// Columns of a line.
const WIDTH: usize = 100;

/// A line that fits; what is cut off, `-o json` has.
fn shortened(line: &str) -> String {
    if line.chars().count() <= WIDTH {
        return line.to_owned();
    }
    let kept: String = line.chars().take(WIDTH - 2).collect();
    format!("{kept}..")
}

/// How far a return is, with the figure that goes with it.
fn stage_text(stage: &str, share_percent: u8, hold_down_left: Option<f64>) -> String {
    match (stage, hold_down_left) {
        ("hold_down", Some(left)) => format!("hold-down {left:.0} s"),
        ("hold_down", None) => "hold-down".to_owned(),
        ("ramping", _) => format!("ramping {share_percent} %"),
        (other, _) => other.replace('_', " "),
    }
}

/// How long ago, in the two largest units.
fn span(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole}s"),
        (0, 0, _) => format!("{minutes}m {}s", whole % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        page(&serde_json::from_str(json).unwrap(), true)
    }

    #[test]
    fn a_region_shows_its_latency_and_how_many_endpoints_are_healthy() {
        let json = r#"{"regions":[{"name":"eu","health":"healthy","admin":"auto","stage":"full",
            "changed_seconds_ago":3725.0,"latency_seconds":0.0405,"endpoints":[
            {"address":"10.0.0.1:443","origin":"","health":"healthy","on_probation":false},
            {"address":"10.0.0.2:443","origin":"","health":"unhealthy","on_probation":false}]},
            {"name":"us","health":"unproven","admin":"drained","stage":"full",
            "latency_seconds":null}]}"#;
        assert_eq!(
            shown(json),
            "REGION  HEALTH    ADMIN    STAGE  SINCE  LATENCY  ENDPOINTS  ADDRESSES\n\
             eu      healthy   auto     full   1h 2m  40.5 ms  1/2        10.0.0.1:443 10.0.0.2:443\n\
             us      unproven  drained  full   -      -        0/0\n"
        );
    }

    #[test]
    fn what_is_not_as_usual_gets_a_line_with_its_reason() {
        let json = r#"{"correlated_failure":true,"regions":[
            {"name":"a","health":"healthy","admin":"auto","stage":"hold_down","hold_down_left_seconds":41.7,
             "changed_seconds_ago":18.0,"cause":"it is well again"},
            {"name":"b","health":"healthy","admin":"auto","stage":"full","cause":"old",
             "routes":[{"route":"orders","stage":"awaiting_confirm","share_percent":0}]},
            {"name":"c","health":"healthy","admin":"auto","stage":"ramping","share_percent":25}]}"#;
        let text = shown(json);
        let (table, remarks) = text.split_once("\n\n").unwrap();
        for stage in ["hold-down 42 s", "full", "ramping 25 %"] {
            assert!(table.contains(&format!("auto   {stage} ")), "{table}");
        }
        assert_eq!(
            remarks,
            "all regions fell together: most likely the fault is on this side, so none is out\n\
             a: it is well again\n\
             b on route orders: awaiting confirm\n"
        );
    }

    #[test]
    fn the_widest_row_of_a_cloud_region_and_every_reason_fit_100_columns() {
        let row = RegionView {
            name: "northamerica-northeast1".to_owned(),
            health: "unhealthy".to_owned(),
            admin: "drained".to_owned(),
            stage: "awaiting_confirm".to_owned(),
            changed_seconds_ago: Some(100_000_000.0),
            cause: Some("why ".repeat(100)),
            latency_seconds: Some(1.234_56),
            ..RegionView::default()
        };
        let shown = Shown {
            correlated_failure: true,
            regions: vec![row],
        };
        let text = page(&shown, false);
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{text}");
    }

    #[test]
    fn a_span_has_its_two_largest_units() {
        let spans = [0.4, 59.0, 61.0, 7_322.0, 90_000.0].map(span);
        assert_eq!(spans, ["0s", "59s", "1m 1s", "2h 2m", "1d 1h"]);
    }
}
