//! What all measurements stand on.

use std::io;
use std::path::PathBuf;

use crate::certificates::Certificates;
use crate::origin::Origins;
use crate::process::Running;

/// The core of the load and of the origins; the proxies have the other.
pub(crate) const CORE: &str = "1";

/// The origins, the certificates, and a place for files.
pub(crate) struct Ground {
    pub(crate) certificates: Certificates,
    pub(crate) origins: Origins,
    pub(crate) running: Running,
    /// Each proxy has its own folder in it.
    pub(crate) folder: PathBuf,
}

impl Ground {
    /// Starts the origins.
    pub(crate) fn new(folder: PathBuf, running: &Running) -> io::Result<Self> {
        let certificates = Certificates::new()?;
        Ok(Self {
            origins: Origins::start(&certificates)?,
            certificates,
            running: running.clone(),
            folder,
        })
    }
}

/// This program's threads, the origins among them, share the core of the load.
pub(crate) fn keep_to_one_core() -> io::Result<()> {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(CORE.parse().map_err(io::Error::other)?);
    Ok(rustix::thread::sched_setaffinity(None, &cores)?)
}

/// Thousands of connections need as many files; the proxies inherit the limit.
pub(crate) fn allow_many_files() -> io::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
