//! What sends requests: other programs, and what they say of the answers; or a thread of ours.

pub(crate) mod idle;
pub(crate) mod open_loop;
mod streams;
mod web_socket;

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::ground::{CORE, Ground};
use crate::process::Process;
use crate::row::{Load, Viewers};
use crate::site::{Site, path};

/// Where viewers are, in the field that CloudFront sends.
const COUNTRY: (&str, &str) = ("cloudfront-viewer-country", "DE");
/// The file a load writes to.
const SAID: &str = "load.log";
/// The script for wrk, where a row needs one.
const SCRIPT: &str = "load.lua";

/// A load under way.
pub(crate) enum Started {
    Program(Process),
    Thread(JoinHandle<io::Result<()>>),
}

/// Starts the row's load on the proxy of this site for `length`, at least.
pub(crate) fn start(site: &Site, length: Duration, ground: &Ground) -> io::Result<Started> {
    let address = site.address;
    let thread = match site.row.load {
        Load::Streams {
            connections,
            streams,
        } => {
            let tls = ground.certificates.viewer("h2")?;
            thread::spawn(move || streams::run(address, &tls, connections, streams, length))
        }
        Load::WebSocket { connections } => {
            thread::spawn(move || web_socket::run(address, connections, length))
        }
        Load::Http1 { .. } | Load::Routes { .. } | Load::Http2 { .. } => {
            let said = fs::File::create(site.folder.join(SAID))?;
            let mut command = program(site, length)?;
            command
                .stdin(Stdio::null())
                .stderr(said.try_clone()?)
                .stdout(said);
            return Ok(Started::Program(ground.running.spawn(&mut command)?));
        }
    };
    Ok(Started::Thread(thread))
}

/// Where viewers find the proxy.
pub(crate) fn url(site: &Site, path: &str) -> String {
    let scheme = match site.row.viewers {
        Viewers::Plain => "http",
        Viewers::Tls => "https",
    };
    format!("{scheme}://{}{path}", site.address)
}

/// The program that is the load.
fn program(site: &Site, length: Duration) -> io::Result<Command> {
    let seconds = length.as_secs_f64().ceil().to_string();
    let country = format!("{}: {}", COUNTRY.0, COUNTRY.1);
    let mut command = Command::new("taskset");
    command.args(["-c", CORE]);
    if let Load::Http2 {
        connections,
        streams,
    } = site.row.load
    {
        command.args(["h2load", "-t", "1", "-D", &seconds, "-H", &country]);
        command.args(["-c", &connections.to_string(), "-m", &streams.to_string()]);
        command.arg(url(site, "/"));
        return Ok(command);
    }
    command.args(["wrk", "-t", "1", "--timeout", "5s", "-H", &country]);
    command.args(["-d", &format!("{seconds}s")]);
    match site.row.load {
        Load::Http1 {
            connections,
            path,
            upload,
            closes,
        } => {
            command.args(["-c", &connections.to_string()]);
            if closes {
                command.args(["-H", "Connection: close"]);
            }
            if upload > 0 {
                let script =
                    format!("wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {upload})\n");
                command.arg("-s").arg(written(&site.folder, &script)?);
            }
            command.arg(url(site, path));
        }
        Load::Routes { connections } => {
            command.args(["-c", &connections.to_string()]);
            let script = each_route(site.row.routes);
            command.arg("-s").arg(written(&site.folder, &script)?);
            command.arg(url(site, &path(1)));
        }
        Load::Http2 { .. } | Load::Streams { .. } | Load::WebSocket { .. } => {}
    }
    Ok(command)
}

fn written(folder: &Path, script: &str) -> io::Result<std::path::PathBuf> {
    let file = folder.join(SCRIPT);
    fs::write(&file, script)?;
    Ok(file)
}

/// Lua for wrk: a request for each route that stays, written once; each time one of them.
fn each_route(routes: usize) -> String {
    format!(
        r#"local requests = {{}}
init = function()
  for number = 1, {routes} - 1 do
    requests[number] = wrk.format("GET", string.format("/r%05d/item", number))
  end
end
request = function() return requests[math.random({routes} - 1)] end
"#
    )
}

impl Started {
    /// Waits for its end. The error says which answers were not as they should be.
    pub(crate) fn finish(self, folder: &Path) -> io::Result<()> {
        let mut process = match self {
            Self::Program(process) => process,
            Self::Thread(thread) => {
                let panicked = |_| io::Error::other("the load panicked");
                return thread.join().map_err(panicked)?;
            }
        };
        let status = process.wait()?;
        let said = fs::read_to_string(folder.join(SAID)).unwrap_or_default();
        if !status.success() {
            let problem = format!("the load ended with {status}: {}", said.trim());
            return Err(io::Error::other(problem));
        }
        complaint(&said).map_or(Ok(()), |line| Err(io::Error::other(line)))
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
