//! A process that gets a twentieth of a core.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{fs, io};

use rustix::process::{Pid, Signal, kill_process_group};

/// Of each [`PERIOD`].
const QUOTA: Duration = Duration::from_millis(5);
const PERIOD: Duration = Duration::from_millis(100);

/// Keeps a process short of processor time until it is dropped.
pub(crate) enum Strain {
    /// By a control group, as a container is.
    Group { folder: PathBuf, process: u32 },
    /// By stopping it most of the time, where there may be no control group.
    Signals {
        is_over: Arc<AtomicBool>,
        thread: Option<JoinHandle<()>>,
    },
}

impl Strain {
    /// On a process, and its group.
    pub(crate) fn on(process: u32) -> Self {
        match limit(process) {
            Ok(folder) => Self::Group { folder, process },
            Err(_) => Self::by_signals(process),
        }
    }

    fn by_signals(process: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let group = Pid::from_raw(process.cast_signed());
            let tell = |signal| group.map(|group| kill_process_group(group, signal));
            while !over.load(Ordering::Relaxed) {
                tell(Signal::STOP);
                thread::sleep(PERIOD.saturating_sub(QUOTA));
                tell(Signal::CONT);
                thread::sleep(QUOTA);
            }
        });
        Self::Signals {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Strain {
    fn drop(&mut self) {
        match self {
            Self::Group { folder, process } => {
                if let Some(parent) = folder.parent() {
                    let _ = fs::write(parent.join("cgroup.procs"), process.to_string());
                }
                let _ = fs::remove_dir(folder);
            }
            Self::Signals { is_over, thread } => {
                is_over.store(true, Ordering::Relaxed);
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
        }
    }
}

/// Puts a process into a new group of control groups, version 1 or 2; gives its folder.
fn limit(process: u32) -> io::Result<PathBuf> {
    let (quota, period) = (QUOTA.as_micros(), PERIOD.as_micros());
    let ours = fs::read_to_string("/proc/self/cgroup")?;
    let path = |named: &str| {
        let mut lines = ours
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let found = lines.find(|(names, _)| names.split(',').any(|name| name == named));
        found.map(|(_, path)| path.trim_start_matches('/').to_owned())
    };
    let (root, file, text) = match path("cpu") {
        Some(path) => (
            Path::new("/sys/fs/cgroup/cpu").join(path),
            "cpu.cfs_quota_us",
            quota.to_string(),
        ),
        None => (
            Path::new("/sys/fs/cgroup").join(path("").unwrap_or_default()),
            "cpu.max",
            format!("{quota} {period}"),
        ),
    };
    let folder = root.join(format!("failover-{process}"));
    fs::create_dir(&folder)?;
    let limited = fs::write(folder.join(file), text)
        .and_then(|()| fs::write(folder.join("cgroup.procs"), process.to_string()));
    limited.inspect_err(|_| drop(fs::remove_dir(&folder)))?;
    Ok(folder)
}
