//! One proxy under one row's load.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use tokio::time::Instant;

use crate::certificates::Certificates;
use crate::cpu;
use crate::load;
use crate::origin::Origins;
use crate::process::{Process, Running};
use crate::proxy::Proxy;
use crate::row::Row;
use crate::settings;
use crate::site::Site;

/// The core of the proxies.
const CORE: &str = "0";
/// How long a proxy may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// Until probes have been answered and threads have settled.
const SETTLES: Duration = Duration::from_millis(1500);
/// From a load's start until it is counted: connections are open by then.
const WARM_UP: Duration = Duration::from_secs(1);

/// What one window of a load took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Microseconds of processor per request, or system calls per request.
    pub(crate) per_request: f64,
    /// Requests a second.
    pub(crate) rate: f64,
}

/// A proxy that waits for its turn.
pub(crate) struct Cell {
    process: Process,
    site: Site,
}

impl Cell {
    /// Starts the proxy on its core.
    pub(crate) fn start(
        proxy: Proxy,
        row: Row,
        origins: &Origins,
        certificates: &Certificates,
        folder: &Path,
        running: &Running,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        certificates.write(folder)?;
        let site = Site {
            row,
            address: free_address()?,
            origin: origins.address(row.origins),
            folder: folder.to_owned(),
            threads: 1,
        };
        fs::write(folder.join(proxy.file_name()), settings::text(proxy, &site))?;
        let command = proxy.command(folder, site.threads, site.address.port())?;
        let mut process = running.spawn(&mut pinned(&command, folder)?)?;
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
        sleep(SETTLES);
        Ok(Self { process, site })
    }

    /// Runs the load once, and measures for `length` in the midst of it.
    pub(crate) fn measure(
        &self,
        origins: &Origins,
        length: Duration,
        counts_calls: bool,
        running: &Running,
    ) -> Result<Taken, String> {
        let Site {
            row,
            folder,
            address,
            ..
        } = &self.site;
        let whole = WARM_UP + length + Duration::from_millis(500);
        let load = load::start(row, *address, whole, folder, running).map_err(|e| e.to_string())?;
        sleep(WARM_UP);
        let (began, served) = (Instant::now(), origins.served());
        let spent = if counts_calls {
            calls(self.process.id(), length).map_err(|error| error.to_string())?
        } else {
            let before = cpu::time(self.process.id()).map_err(|error| error.to_string())?;
            sleep(length);
            let after = cpu::time(self.process.id()).map_err(|error| error.to_string())?;
            (after - before).as_secs_f64() * 1e6
        };
        let (took, served) = (began.elapsed(), origins.served() - served);
        load.finish(folder)?;
        if served == 0 {
            return Err("no request came to the origin".to_owned());
        }
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let served = served as f64;
        Ok(Taken {
            per_request: spent / served,
            rate: served / took.as_secs_f64(),
        })
    }
}

/// System calls that the process and its threads make in `length`.
fn calls(pid: u32, length: Duration) -> io::Result<f64> {
    let pid = pid.to_string();
    let output = Command::new("taskset")
        .args([
            "-c",
            load::CORE,
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

/// The same command, kept on the core of the proxies.
fn pinned(command: &Command, folder: &Path) -> io::Result<Command> {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", CORE])
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

/// An address that nobody has, below the range of outgoing connections.
fn free_address() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..200 {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(15_000..32_000)));
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
