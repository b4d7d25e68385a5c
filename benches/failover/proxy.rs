//! The proxies of the table: found, configured, started, ended.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal};

use crate::settings;
use crate::setup::Site;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Meridian,
    Nginx,
    Haproxy,
    Envoy,
    Caddy,
}

/// Every column, in order.
pub(crate) const PROXIES: [Proxy; 5] = [
    Proxy::Meridian,
    Proxy::Nginx,
    Proxy::Haproxy,
    Proxy::Envoy,
    Proxy::Caddy,
];

impl Proxy {
    /// The word on the command line and at the head of the column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Meridian => "meridian",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Self::Meridian => std::env::var_os("MERIDIAN_BIN")
                .map_or_else(|| env!("CARGO_BIN_EXE_meridian").into(), PathBuf::from),
            _ => self.name().into(),
        }
    }

    /// What the program says of its version; `None` where it is not installed.
    pub(crate) fn version(self) -> Option<String> {
        let flag = match self {
            Self::Nginx | Self::Haproxy => "-v",
            Self::Caddy => "version",
            Self::Meridian | Self::Envoy => "--version",
        };
        let output = Command::new(self.program()).arg(flag).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let line = said.lines().find(|line| !line.trim().is_empty())?;
        output.status.success().then(|| number(line).to_owned())
    }

    /// Writes the settings and starts the proxy in front of the regions.
    pub(crate) fn start(self, site: &Site, running: &Running) -> io::Result<Process> {
        let folder = &site.folder;
        let file = folder.join(settings::file_name(self));
        fs::write(&file, settings::text(self, site))?;
        let mut command = Command::new(self.program());
        match self {
            Self::Meridian => command.arg("run").arg("-c").arg(&file),
            Self::Nginx => command.arg("-p").arg(folder).arg("-c").arg(&file),
            Self::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Self::Envoy => command
                .args(["--log-level", "error", "--concurrency", "1", "-c"])
                .arg(&file)
                .args(["--base-id", &site.address.port().to_string()]),
            Self::Caddy => command
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file),
        };
        command
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("out.log"))?)
            .stderr(File::create(folder.join("err.log"))?);
        running.spawn(&mut command)
    }
}

/// The version in a line about it: the last word that looks like one, for Envoy begins with a path.
fn number(line: &str) -> &str {
    let mut words = line
        .split([' ', '/'])
        .map(|word| word.trim_start_matches('v'));
    let is_version =
        |word: &&str| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit());
    words.rfind(is_version).unwrap_or(line)
}

/// A running proxy; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    running: Running,
}

impl Process {
    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.running.remove(&self.child);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes to end when this program is told to end.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Vec<u32>>>);

impl Running {
    fn spawn(&self, command: &mut Command) -> io::Result<Process> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        ids.push(child.id());
        let running = self.clone();
        Ok(Process { child, running })
    }

    fn remove(&self, child: &Child) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|id| *id != child.id());
    }

    /// Ends all of them and this program; none can start in between.
    pub(crate) fn end_and_exit(&self) -> ! {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.iter() {
            let pid = i32::try_from(*id).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        std::process::exit(130)
    }
}
