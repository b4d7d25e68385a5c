//! One proxy under one row's load.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::ground::{self, Ground};
use crate::load;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::settings;
use crate::site::Site;
use crate::usage::{self, Ticks};

/// The core of the proxies.
const CORE: &str = "0";
/// The cores of a proxy with two threads.
const BOTH_CORES: &str = "0,1";
/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long it may take to follow a change of its settings.
const RELOAD_LIMIT: Duration = Duration::from_secs(10);
/// Until probes have been answered and threads have settled.
const SETTLES: Duration = Duration::from_millis(1500);
/// From a load's start until it is counted: connections are open by then.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one window of a load took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Microseconds of processor per request, or system calls per request.
    pub(crate) per_request: f64,
    /// Of the time, what the proxy spent in its own code and not in the kernel.
    pub(crate) own: Option<f64>,
    /// Requests a second.
    pub(crate) rate: f64,
}

/// A proxy that waits for its turn.
pub(crate) struct Cell {
    proxy: Proxy,
    process: Process,
    site: Site,
}

/// Leaves proxies that have just been started alone for a while.
pub(crate) fn settle() {
    sleep(SETTLES);
}

impl Cell {
    /// Starts the proxy on its core.
    pub(crate) fn start(proxy: Proxy, site: Site, ground: &Ground) -> io::Result<Self> {
        let folder = &site.folder;
        fs::create_dir_all(folder)?;
        ground.certificates.write(folder)?;
        settings::write(proxy, &site, &folder.join(proxy.file_name()))?;
        let command = proxy.command(folder, site.threads, site.address.port())?;
        let cores = if site.threads == 1 { CORE } else { BOTH_CORES };
        let mut process = ground
            .running
            .spawn(&mut pinned(&command, cores, folder)?)?;
        let limit = Instant::now() + START_LIMIT;
        while TcpStream::connect(site.address).is_err() {
            if process.has_ended() || Instant::now() > limit {
                let said = fs::read_to_string(folder.join("err.log")).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "it does not listen: {}",
                    said.trim()
                )));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(Self {
            proxy,
            process,
            site,
        })
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Runs the load once, and measures in the midst of it.
    pub(crate) fn measure(
        &self,
        length: Duration,
        counts_calls: bool,
        ground: &Ground,
    ) -> io::Result<Taken> {
        let whole = WARM_UP + length + Duration::from_millis(500);
        let load = load::start(&self.site, whole, ground)?;
        sleep(WARM_UP);
        let (began, served) = (Instant::now(), ground.origins.served());
        let (spent, own_share) = if counts_calls {
            (calls(self.id(), length)?, None)
        } else {
            let (before, ticks_before) = (usage::time(self.id())?, Ticks::of(self.id())?);
            sleep(length);
            let (after, ticks) = (usage::time(self.id())?, Ticks::of(self.id())?);
            let share = ticks.own_share_since(ticks_before);
            ((after - before).as_secs_f64() * 1e6, Some(share))
        };
        let (took, served) = (began.elapsed(), ground.origins.served() - served);
        load.finish(&self.site.folder)?;
        if served == 0 {
            return Err(io::Error::other("no request came to the origin"));
        }
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let served = served as f64;
        Ok(Taken {
            per_request: spent / served,
            own: own_share.map(|share| share * spent / served),
            rate: served / took.as_secs_f64(),
        })
    }

    /// Writes the settings of the next revisions, so that a change is only a rename.
    pub(crate) fn prepare(&self, revisions: usize) -> io::Result<()> {
        let mut site = self.site.clone();
        for _ in 0..revisions {
            site.revision += 1;
            settings::write(self.proxy, &site, &revised(&site))?;
        }
        Ok(())
    }

    /// Changes a route and waits until the change is in effect.
    pub(crate) fn reload(&mut self) -> io::Result<()> {
        self.site.revision += 1;
        let file = self.site.folder.join(self.proxy.file_name());
        fs::rename(revised(&self.site), file)?;
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, Signal::HUP)?;
        let path = format!("{}item", self.site.paths()[0]);
        let limit = Instant::now() + RELOAD_LIMIT;
        while !self.answers(&path)? {
            if Instant::now() > limit {
                let problem = format!("change {} is not in effect", self.site.revision);
                return Err(io::Error::other(problem));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether this path has an answer of status 200, without TLS.
    fn answers(&self, path: &str) -> io::Result<bool> {
        let mut stream = TcpStream::connect(self.site.address)?;
        stream.set_read_timeout(Some(RELOAD_LIMIT))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        // A worker that is about to leave may close without an answer.
        let _ = stream.read_to_end(&mut answer);
        Ok(answer.starts_with(b"HTTP/1.1 200 "))
    }
}

/// Where the settings of a revision wait.
fn revised(site: &Site) -> PathBuf {
    site.folder.join(format!("revision-{}", site.revision))
}

/// System calls that the process and its threads make in `length`.
fn calls(pid: u32, length: Duration) -> io::Result<f64> {
    let pid = pid.to_string();
    let output = Command::new("taskset")
        .args([
            "-c",
            ground::CORE,
            "perf",
            "stat",
            "-x",
            ",",
            "-e",
            "raw_syscalls:sys_enter",
            "-p",
            &pid,
        ])
        .args(["sleep", &length.as_secs_f64().to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said
        .lines()
        .find_map(|line| line.split(',').next()?.parse().ok());
    count.ok_or_else(|| io::Error::other(format!("perf counts no system calls: {}", said.trim())))
}

/// The same command, kept on these cores.
fn pinned(command: &Command, cores: &str, folder: &Path) -> io::Result<Command> {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", cores])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    pinned
        .stdin(std::process::Stdio::null())
        .stdout(fs::File::create(folder.join("out.log"))?)
        .stderr(fs::File::create(folder.join("err.log"))?);
    Ok(pinned)
}
