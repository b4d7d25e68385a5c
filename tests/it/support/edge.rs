//! A whole proxy in this process, on ports of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use meridian::app::App;
use tempfile::TempDir;

use crate::support::client::{Reply, send};

/// A running proxy; drains at once when dropped.
pub(crate) struct Edge {
    /// The proxy.
    pub(crate) app: App,
    /// Its first listener.
    pub(crate) address: SocketAddr,
    /// Its configuration's file.
    pub(crate) file: PathBuf,
    _folder: TempDir,
}

impl Edge {
    /// Starts a proxy with this configuration, which must say `127.0.0.1:0` for its addresses.
    pub(crate) async fn start(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meridian.toml");
        std::fs::write(&file, text).unwrap();
        let app = App::start(
            meridian::load::read(&file).unwrap_or_else(|problems| panic!("{problems}")),
            file.clone(),
        )
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let address = app.addresses()[0];
        Self {
            app,
            address,
            file,
            _folder: folder,
        }
    }

    /// Starts a proxy in front of `origins`, one per region, in the order given (`failover`),
    /// with one worker and probes so slow that they do not matter. `more` is added to the file.
    pub(crate) async fn in_front_of(origins: &[(&str, &str)], more: &str) -> Self {
        let edge = Self::start(&Self::text(origins, more)).await;
        edge.resolved().await;
        edge
    }

    /// The configuration that [`Edge::in_front_of`] starts with.
    pub(crate) fn text(origins: &[(&str, &str)], more: &str) -> String {
        let mut text = String::from(
            "workers = 1\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrusted_peers = [\"127.0.0.0/8\"]\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [access_log]\nenabled = false\n\
             [probe]\ninterval = \"1h\"\nfast_interval = \"1h\"\n",
        );
        for (name, url) in origins {
            text.push_str(&format!("[region.{name}]\norigins = [\"{url}\"]\n"));
        }
        let names: Vec<_> = origins
            .iter()
            .map(|(name, _)| format!("\"{name}\""))
            .collect();
        text.push_str(&format!(
            "[[route]]\nname = \"all\"\npath = \"/\"\nregions = [{}]\npolicy = \"failover\"\n{more}",
            names.join(", "),
        ));
        text
    }

    /// Asks the admin server.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> Reply {
        let address = self.app.admin_address().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", address.to_string())
            .body(Full::<Bytes>::default())
            .unwrap();
        send(address, request).await.unwrap()
    }

    /// The value of a metric now; 0 where it has no such series.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let page = self.admin("GET", "/metrics").await.text();
        let value = page.lines().find_map(|line| {
            let value = line.strip_prefix(series)?.strip_prefix(' ')?;
            Some(value.parse().unwrap())
        });
        value.unwrap_or_default()
    }

    /// Waits until a metric has at least this value.
    pub(crate) async fn counted(&self, series: &str, least: f64) {
        let counting = async {
            while self.metric(series).await < least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let limit = Duration::from_secs(10);
        if tokio::time::timeout(limit, counting).await.is_err() {
            let page = self.admin("GET", "/metrics").await.text();
            panic!("{series} never reached {least}:\n{page}");
        }
    }

    /// Waits until a connection has ended like this.
    pub(crate) async fn ended(&self, end: &str) {
        let series = format!("meridian_connection_ends_total{{end=\"{end}\"}}");
        self.counted(&series, 1.0).await;
    }

    /// Writes a new configuration, without asking for it to be loaded.
    pub(crate) fn write(&self, text: &str) {
        // As editors and deployments do it: a half-written file is never there to be read.
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.file).unwrap();
    }

    /// Writes a new configuration and loads it; it must be taken.
    pub(crate) async fn reload_with(&self, text: &str) {
        self.write(text);
        let result = self.app.reload().await;
        assert!(result.is_success(), "{:?}", result.outcome);
    }

    /// Waits until every region has an endpoint to dial.
    pub(crate) async fn resolved(&self) {
        let board = self.app.board();
        let mut revisions = board.revisions();
        while board
            .live()
            .snapshot
            .regions
            .iter()
            .any(|region| region.endpoints.is_empty())
        {
            revisions.changed().await.unwrap();
        }
    }
}
