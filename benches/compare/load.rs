//! The programs that send requests, and what they say of the answers.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Process, Running};
use crate::row::{Load, Row, Viewers};

/// Where viewers are, in the field that CloudFront sends.
const COUNTRY: &str = "CloudFront-Viewer-Country: DE";
/// The file a load writes to.
const SAID: &str = "load.log";
/// The script for wrk that uploads.
const SCRIPT: &str = "upload.lua";
/// The core of the load and of the origins; the proxies have the other.
pub(crate) const CORE: &str = "1";

/// A load under way.
pub(crate) struct Started {
    process: Process,
}

/// Starts the row's load on the proxy at `address` for `length`, at least; files go to `folder`.
pub(crate) fn start(
    row: &Row,
    address: SocketAddr,
    length: Duration,
    folder: &Path,
    running: &Running,
) -> io::Result<Started> {
    let scheme = match row.viewers {
        Viewers::Plain => "http",
        Viewers::Tls => "https",
    };
    let seconds = length.as_secs_f64().ceil().to_string();
    let mut command = Command::new("taskset");
    command.args(["-c", CORE]);
    match row.load {
        Load::Http1 {
            connections,
            path,
            upload,
            closes,
        } => {
            command.args(["wrk", "-t", "1", "--timeout", "5s", "-H", COUNTRY]);
            command.args(["-d", &format!("{seconds}s"), "-c", &connections.to_string()]);
            if closes {
                command.args(["-H", "Connection: close"]);
            }
            if upload > 0 {
                let script = folder.join(SCRIPT);
                fs::write(
                    &script,
                    format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {upload})\n"),
                )?;
                command.arg("-s").arg(script);
            }
            command.arg(format!("{scheme}://{address}{path}"));
        }
        Load::Http2 {
            connections,
            streams,
        } => {
            command.args(["h2load", "-t", "1", "-D", &seconds, "-H", COUNTRY]);
            command.args(["-c", &connections.to_string(), "-m", &streams.to_string()]);
            command.arg(format!("{scheme}://{address}/"));
        }
    }
    let said = fs::File::create(folder.join(SAID))?;
    command
        .stdin(Stdio::null())
        .stderr(said.try_clone()?)
        .stdout(said);
    let process = running.spawn(&mut command)?;
    Ok(Started { process })
}

impl Started {
    /// Waits for its end. The error says which answers were not as they should be.
    pub(crate) fn finish(mut self, folder: &Path) -> Result<(), String> {
        let status = self.process.wait().map_err(|error| error.to_string())?;
        let said = fs::read_to_string(folder.join(SAID)).unwrap_or_default();
        if !status.success() {
            return Err(format!("the load ended with {status}: {}", said.trim()));
        }
        complaint(&said).map_or(Ok(()), |line| Err(line.to_owned()))
    }
}

/// The line about errors of what wrk and h2load print, if there were any.
fn complaint(said: &str) -> Option<&str> {
    said.lines().map(str::trim).find(|line| {
        line.starts_with("Non-2xx")
            || line.starts_with("Socket errors")
            || line.starts_with("requests:")
                && !(line.contains(" 0 failed") && line.contains(" 0 errored"))
            || line.starts_with("status codes:") && !line.contains(" 0 3xx, 0 4xx, 0 5xx")
    })
}
