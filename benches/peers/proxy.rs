//! The proxies of a table: how they are found, named and started.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

    /// The program itself.
    pub(crate) fn program(self) -> PathBuf {
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

    /// The name under which its settings are written.
    pub(crate) fn file_name(self) -> &'static str {
        match self {
            Self::Meridian => "meridian.toml",
            Self::Nginx => "nginx.conf",
            Self::Haproxy => "haproxy.cfg",
            Self::Envoy => "envoy.yaml",
            Self::Caddy => "Caddyfile",
        }
    }

    /// What starts it with the settings in its folder, on `threads` threads where it is told so on
    /// the command line. `number` tells instances of Envoy apart.
    pub(crate) fn command(self, folder: &Path, threads: usize, number: u16) -> io::Result<Command> {
        let file = folder.join(self.file_name());
        let mut command = Command::new(self.program());
        match self {
            Self::Meridian => command.arg("run").arg("-c").arg(&file),
            Self::Nginx => command.arg("-p").arg(folder).arg("-c").arg(&file),
            Self::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Self::Envoy => command
                .args(["--log-level", "error", "--concurrency"])
                .arg(threads.to_string())
                .arg("-c")
                .arg(&file)
                .args(["--base-id", &number.to_string()]),
            Self::Caddy => command
                .env("GOMAXPROCS", threads.to_string())
                .args(["run", "--adapter", "caddyfile", "--config"])
                .arg(&file),
        };
        command
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("out.log"))?)
            .stderr(File::create(folder.join("err.log"))?);
        Ok(command)
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
