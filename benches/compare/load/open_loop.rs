//! `meridian bench`: requests at a fixed rate, whether answers come or not.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{COUNTRY, url};
use crate::ground::CORE;
use crate::ground::Ground;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::row::Viewers;
use crate::site::Site;

/// What it writes, and what it says of errors.
const REPORT: &str = "open_loop.json";
const SAID: &str = "open_loop.log";
/// As many connections as the closed loop has.
const CONNECTIONS: &str = "64";

/// One under way.
pub(crate) struct OpenLoop {
    process: Process,
    folder: PathBuf,
}

/// How long viewers waited since their requests were due, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    /// Requests without a whole answer of status 2xx, those that were never sent among them.
    pub(crate) lost: u64,
}

impl OpenLoop {
    /// Starts `rate` requests a second for this path of the site.
    pub(crate) fn start(
        site: &Site,
        path: &str,
        rate: u64,
        length: Duration,
        ground: &Ground,
    ) -> io::Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", CORE]).arg(Proxy::Meridian.program());
        command.args(["bench", &url(site, path), "--quiet"]);
        if site.row.viewers == Viewers::Tls {
            command.arg("--insecure");
        }
        command.args(["--output", "json", "--connections", CONNECTIONS]);
        command.args(["--rate", &rate.to_string()]);
        command.args(["--for", &format!("{}s", length.as_secs())]);
        command.args(["--header", &format!("{}: {}", COUNTRY.0, COUNTRY.1)]);
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(site.folder.join(REPORT))?)
            .stderr(fs::File::create(site.folder.join(SAID))?);
        Ok(Self {
            process: ground.running.spawn(&mut command)?,
            folder: site.folder.clone(),
        })
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Waits for its end and reads its report.
    pub(crate) fn finish(mut self) -> io::Result<Waits> {
        let status = self.process.wait()?;
        let report = fs::read_to_string(self.folder.join(REPORT)).unwrap_or_default();
        let report = serde_json::from_str(&report).unwrap_or(Value::Null);
        waits(&report).ok_or_else(|| {
            let said = fs::read_to_string(self.folder.join(SAID)).unwrap_or_default();
            let said = said.trim();
            io::Error::other(format!("meridian bench ended with {status}: {said}"))
        })
    }
}

/// What matters of the report.
fn waits(report: &Value) -> Option<Waits> {
    let latency = report.get("latency")?;
    let milliseconds = |name: &str| Some(latency.get(name)?.as_f64()? * 1e3);
    let due = report.get("due")?.as_u64()?;
    let served = report.pointer("/classes/2xx").and_then(Value::as_u64);
    Some(Waits {
        p50: milliseconds("p50_seconds")?,
        p99: milliseconds("p99_seconds")?,
        p99_9: milliseconds("p99_9_seconds")?,
        lost: due.saturating_sub(served.unwrap_or(0)),
    })
}
