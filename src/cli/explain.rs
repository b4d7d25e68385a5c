//! `meridian explain`: where a request would go, and why.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use form_urlencoded::Serializer;
use http::{HeaderMap, Method};

use crate::cli::admin_client::{AdminRequest, ask};
use crate::cli::config_file;
use crate::cli::failure::Failure;
use crate::cli::options::{Globals, Output, OutputFormat};
use crate::cli::terminal::Terminal;
use crate::geo::GeoTable;
use meridian_core::apply::{Beliefs, Event, apply};
use meridian_core::config::Config;
use meridian_core::decide::explain::explain;
use meridian_core::decide::request::{RequestClass, RequestFacts};
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::country::Country;
use meridian_core::model::id::RegionId;
use meridian_core::model::time::Timestamp;
use meridian_core::model::viewer::{Viewer, ViewerSource};
use meridian_core::table::path::matched_path;

/// Asks the running proxy when an admin endpoint is named or with --live; else works from the
/// file alone, where no health and no latency is known.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  meridian explain --country DE --path /v1/x\n  meridian explain --live --ip 203.0.113.7 --host api.example.com"
)]
pub(crate) struct Explain {
    /// The viewer's country, such as DE
    #[arg(long, value_name = "CODE", value_parser = country)]
    country: Option<Country>,
    /// The request's path
    #[arg(long, default_value = "/", value_parser = path)]
    path: String,
    /// The request's method
    #[arg(long, default_value = "GET")]
    method: Method,
    /// The request's host
    #[arg(long)]
    host: Option<String>,
    /// The viewer's address, looked up when no country is given
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Ask the running proxy
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    output: Output,
}

impl Explain {
    pub(crate) fn run(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        if self.live || globals.admin.is_some() {
            self.ask_proxy(globals, terminal)
        } else {
            self.offline(globals, terminal)
        }
    }

    fn ask_proxy(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let target = globals.target();
        let question = AdminRequest {
            method: Method::GET,
            path: &format!("/api/v1/explain?{}", self.query()),
            limit: Duration::from_secs(5),
        };
        let answer = ask(&target, &question)?.success(&target)?;
        let value = answer.json().ok_or_else(|| target.foreign())?;
        match (value["text"].as_str(), self.output.format) {
            (Some(text), OutputFormat::Table) => terminal.data(text),
            _ => terminal.json(&value),
        }
    }

    fn query(&self) -> String {
        let country = self.country.map(|country| country.to_string());
        let ip = self.ip.map(|ip| ip.to_string());
        let pairs = [
            ("path", Some(self.path.as_str())),
            ("method", Some(self.method.as_str())),
            ("country", country.as_deref()),
            ("host", self.host.as_deref()),
            ("ip", ip.as_deref()),
        ];
        let pairs = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    fn offline(&self, globals: &Globals, terminal: &Terminal) -> Result<(), Failure> {
        let path = config_file::locate(globals.config.as_deref())?;
        let config = config_file::load(&path, terminal)?;
        terminal.say(&format!(
            "from {} alone: no region was probed, so any may serve and no latency is known; \
             --live asks the running proxy",
            path.display()
        ));
        let viewer = self.viewer(&config)?;
        let path = matched_path(self.path.split('?').next().unwrap_or("/"));
        let facts = RequestFacts {
            method: &self.method,
            class: RequestClass::of(&self.method, &HeaderMap::new()),
            ..RequestFacts::get(self.host.as_deref(), &path, &viewer)
        };
        let mut explanation = explain(&all_well(&config), &facts, Timestamp::ZERO);
        explanation.method = Some(self.method.to_string());
        match self.output.format {
            OutputFormat::Table => terminal.data(&explanation.to_string()),
            OutputFormat::Json => {
                let value = serde_json::to_value(&explanation);
                terminal.json(&value.map_err(|error| Failure::Failed(error.to_string()))?)
            }
        }
    }

    /// Who would ask. A named country counts as if a trusted peer had said it.
    fn viewer(&self, config: &Config) -> Result<Viewer, Failure> {
        let (country, source) = match (self.country, self.ip) {
            (Some(country), _) => (Some(country), ViewerSource::Header),
            (None, Some(address)) => {
                let tables = GeoTable::load(config.viewer.geoip.as_deref());
                let tables = tables.map_err(|error| Failure::Failed(error.to_string()))?;
                match tables.country(address) {
                    Some((country, source)) => (Some(country), source),
                    None => (None, ViewerSource::Unknown),
                }
            }
            (None, None) => (None, ViewerSource::Unknown),
        };
        Ok(Viewer {
            address: self.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            country,
            source,
            place: None,
        })
    }
}

/// What is believed before anything is measured: every origin has an address and may serve.
fn all_well(config: &Config) -> Snapshot {
    let table = Event::Table {
        table: Arc::clone(&config.table),
        unknown: config.viewer.unknown,
    };
    let (mut beliefs, _) = apply(&Beliefs::default(), table, Timestamp::ZERO);
    for (index, region) in config.table.regions.iter().enumerate() {
        for (origin, written) in (0..).zip(&region.origins) {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), written.port);
            let resolved = Event::Resolved {
                generation: beliefs.generation,
                region: RegionId::at(index),
                origin,
                addresses: vec![address],
            };
            beliefs = apply(&beliefs, resolved, Timestamp::ZERO).0;
        }
    }
    beliefs.snapshot()
}

fn country(text: &str) -> Result<Country, String> {
    Country::parse(text.as_bytes()).ok_or_else(|| "this is no country's two-letter code".to_owned())
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        Ok(text.to_owned())
    } else {
        Err("a path begins with /".to_owned())
    }
}
