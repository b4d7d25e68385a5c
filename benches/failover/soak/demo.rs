//! A demo that is soaked: `meridian demo` in a process of its own.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::caller::Caller;
use crate::process::{Process, Running};
use crate::proxy::Proxy;
use crate::soak::episode::Episode;

/// How long it may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The last line it prints before it serves.
const SERVES: &str = "Ctrl-C ends everything.";

/// A running demo; dropping it ends it.
pub(crate) struct SoakedDemo {
    /// The plain listener of its proxy.
    pub(crate) http: SocketAddr,
    /// Where it takes faults.
    control: SocketAddr,
    /// Of this episode: whoever crawls, or sends a batch.
    traffic: Option<Process>,
    _process: Process,
    folder: TempDir,
    /// How many bytes of its news have been told.
    told: usize,
}

impl SoakedDemo {
    /// Starts it on free ports and waits until it serves.
    pub(crate) async fn start(running: &Running) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(Proxy::Meridian.program());
        command.arg("demo").env("TMPDIR", folder.path());
        for port in ["http", "https", "admin", "control", "region"] {
            command.args([&format!("--{port}-port"), "0"]);
        }
        command
            .stdin(Stdio::null())
            .stdout(File::create(folder.path().join("out.log"))?)
            .stderr(File::create(folder.path().join("err.log"))?);
        let mut process = running.spawn(&mut command)?;
        let limit = Instant::now() + START_LIMIT;
        let welcome = loop {
            let welcome = std::fs::read_to_string(folder.path().join("out.log"))?;
            if welcome.contains(SERVES) {
                break welcome;
            }
            if process.has_ended() || Instant::now() > limit {
                let said = std::fs::read_to_string(folder.path().join("err.log"))?;
                return Err(io::Error::other(format!("the demo did not start: {said}")));
            }
            sleep(Duration::from_millis(50)).await;
        };
        Ok(Self {
            http: address(&welcome, "http://localhost:")?,
            control: address(&welcome, "--control http://127.0.0.1:")?,
            traffic: None,
            _process: process,
            folder,
            told: 0,
        })
    }

    /// Lets the episode begin.
    pub(crate) async fn begin(&mut self, episode: &Episode, running: &Running) -> io::Result<()> {
        match (episode.word, &episode.region) {
            (word, Some(region)) => self.set(word, region).await,
            ("nothing", None) => Ok(()),
            (word, None) => {
                let mut command = Command::new(Proxy::Meridian.program());
                let control = format!("http://{}", self.control);
                command
                    .args(["demo", word, "--quiet", "--control", &control])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null());
                self.traffic = Some(running.spawn(&mut command)?);
                Ok(())
            }
        }
    }

    /// Lets it be over.
    pub(crate) async fn end(&mut self, episode: &Episode) -> io::Result<()> {
        self.traffic = None;
        match &episode.region {
            Some(region) => self.set("heal", region).await,
            None => Ok(()),
        }
    }

    async fn set(&self, word: &str, region: &str) -> io::Result<()> {
        let caller = Caller::new(self.control, Ipv4Addr::LOCALHOST);
        let request = format!(
            "POST /regions/{region}/{word} HTTP/1.1\r\nhost: demo\r\ncontent-length: 0\r\n\r\n"
        );
        match caller.receive(&request).await?.status()? {
            200 => Ok(()),
            status => Err(io::Error::other(format!("{word} {region}: {status}"))),
        }
    }

    /// What it said of its regions since it was asked last, a line each.
    pub(crate) fn news(&mut self) -> io::Result<String> {
        let said = std::fs::read_to_string(self.folder.path().join("err.log"))?;
        let news = said[self.told..]
            .lines()
            .map(|line| format!("    {line}\n"));
        self.told = said.len();
        Ok(news.collect())
    }
}

/// The address on loopback whose port follows `before`.
fn address(welcome: &str, before: &str) -> io::Result<SocketAddr> {
    let port = welcome.split(before).nth(1).and_then(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits?.parse::<u16>().ok()
    });
    let port = port.ok_or_else(|| io::Error::other(format!("no {before} in: {welcome}")))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
