//! Reads a configuration from the disk and builds what it names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::resources::{BuildContext, Resources};
use meridian_core::config::problems::Problems;
use meridian_core::config::{self, Config, Reader};

/// The largest file that is taken for a configuration, in bytes.
const LARGEST: u64 = 16 << 20;

/// Reads and checks `path` and the files it includes, with this process's environment.
///
/// # Errors
/// Everything that is wrong, each with its place.
pub fn read(path: &Path) -> Result<Config, Problems> {
    let reader = Reader {
        read: &text_of,
        list: &files_of,
        env: &|name| std::env::var(name).ok(),
    };
    config::load(path, &reader)
}

/// Reads and checks `path` and builds what it names: all that can fail of a reload.
///
/// # Errors
/// Everything that is wrong, each with its place, and the files that mending may be done in.
pub fn build(path: &Path, context: BuildContext<'_>) -> Result<Resources, Refusal> {
    let config = Arc::new(read(path).map_err(|problems| Refusal {
        problems,
        named: Vec::new(),
    })?);
    let named = config.named_files.keys().cloned().collect();
    Resources::build(config, context).map_err(|problems| Refusal { problems, named })
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
#[error("{problems}")]
pub struct Refusal {
    /// What is wrong.
    pub problems: Problems,
    /// The files that the configuration names, as far as it could be read: the change that mends it
    /// may be in any of them.
    pub named: Vec<PathBuf>,
}

/// The content of a file of a configuration. A pipe or a device is none: to open it might wait for
/// ever.
pub(crate) fn text_of(path: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    if metadata.len() > LARGEST {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    std::fs::read_to_string(path)
}

fn files_of(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // A pattern beside a file that was named without a folder lists the current one.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let entries = std::fs::read_dir(folder)?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_and_a_huge_file_are_no_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(text_of(&path).unwrap_err().to_string(), "not a file");
        let path = folder.path().join("b");
        let huge = std::fs::File::create(&path).unwrap();
        huge.set_len(LARGEST + 1).unwrap();
        let error = text_of(&path).unwrap_err().to_string();
        assert_eq!(error, "larger than 16 MiB");
        huge.set_len(2).unwrap();
        assert_eq!(text_of(&path).unwrap().len(), 2);
    }
}
