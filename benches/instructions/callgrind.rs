//! A program under callgrind, which counts every instruction of it but none of the kernel's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Process, Running};
use crate::profile::Profile;

/// The name of what it writes, in its folder.
const OUT: &str = "callgrind.out";

/// Valgrind's version; `None` where it is not installed.
pub(crate) fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    output.status.success().then(|| said.trim().to_owned())
}

/// A command that runs `program` under callgrind and writes its counts to `folder`.
pub(crate) fn command(program: impl AsRef<OsStr>, folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("valgrind");
    let mut out = OsStr::new("--callgrind-out-file=").to_owned();
    out.push(folder.join(OUT));
    command
        .args(["--tool=callgrind", "-q"])
        .args(options)
        .arg(out)
        .arg(program);
    command
}

/// A program that keeps running while its counts are taken.
pub(crate) struct Counted {
    process: Process,
    folder: PathBuf,
    dumps: u32,
}

impl Counted {
    /// Starts it; it was made by [`command`] for the same folder.
    pub(crate) fn start(
        command: &mut Command,
        folder: &Path,
        running: &Running,
    ) -> io::Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("out.log"))?)
            .stderr(fs::File::create(folder.join("err.log"))?);
        Ok(Self {
            process: running.spawn(command)?,
            folder: folder.to_owned(),
            dumps: 0,
        })
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it said, when it has ended though it should not have.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        let has_ended = self.process.has_ended();
        has_ended.then(|| fs::read_to_string(self.folder.join("err.log")).unwrap_or_default())
    }

    /// What its busiest thread did since the last call; needs `--separate-threads=yes`.
    pub(crate) fn take(&mut self) -> io::Result<Profile> {
        let pid = format!("--pid={}", self.id());
        let dumped = Command::new("vgdb").args([&pid, "dump"]).output()?;
        if !dumped.status.success() {
            let said = String::from_utf8_lossy(&dumped.stderr).into_owned();
            return Err(io::Error::other(format!("vgdb: {}", said.trim())));
        }
        self.dumps += 1;
        let prefix = format!("{OUT}.{}-", self.dumps);
        let mut busiest = Profile::default();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let thread = Profile::read(&entry.path())?;
                if thread.instructions > busiest.instructions {
                    busiest = thread;
                }
            }
        }
        Ok(busiest)
    }
}

/// What a program with one thread did from start to end.
pub(crate) fn whole(
    command: &mut Command,
    folder: &Path,
    running: &Running,
) -> io::Result<Profile> {
    let mut counted = Counted::start(command, folder, running)?;
    let status = counted.process.wait()?;
    if status.success() {
        return Profile::read(&folder.join(OUT));
    }
    let said = fs::read_to_string(folder.join("err.log")).unwrap_or_default();
    Err(io::Error::other(format!("{status}: {}", said.trim())))
}
