//! What a set of files holds, as one hash each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

/// Files up to this size are read at every look. Larger ones (databases) are read only when their
/// metadata changed: reading 10 MB every second would be felt.
const ALWAYS_READ: u64 = 1 << 20;

/// What was found at a path. Symbolic links are followed, so a link that is swapped shows as a
/// change of what can be read through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    /// Hash of the content; `None` if the file cannot be read.
    content: Option<u64>,
    metadata: Metadata,
}

/// Device, inode, length, and the times of the last change of content and of metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Metadata(u64, u64, u64, (i64, i64), (i64, i64));

/// The content of some files at one moment.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint {
    files: BTreeMap<PathBuf, Found>,
}

impl Fingerprint {
    /// Reads `paths`; this blocks. A file that cannot be read counts as such.
    #[must_use]
    pub fn of(paths: &[PathBuf]) -> Self {
        Self::default().again(paths)
    }

    /// Reads `paths`, sparing large files whose metadata is the same as in `self`; this blocks.
    #[must_use]
    pub fn again(&self, paths: &[PathBuf]) -> Self {
        let files = paths
            .iter()
            .map(|path| (path.clone(), look(path, self.files.get(path))))
            .collect();
        Self { files }
    }

    /// The paths that were looked at.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// The files of either that hold something else in `later`, or are in only one of both.
    #[must_use]
    pub fn changed(&self, later: &Self) -> Vec<PathBuf> {
        let gone = self
            .files
            .keys()
            .filter(|path| !later.files.contains_key(*path));
        let other = later
            .files
            .iter()
            .filter(|(path, found)| self.content(path) != Some(found.content))
            .map(|(path, _)| path);
        gone.chain(other).cloned().collect()
    }

    /// Whether a file that is in both holds something else in `later`.
    #[must_use]
    pub fn differs_where_both_looked(&self, later: &Self) -> bool {
        self.files.iter().any(|(path, found)| {
            later
                .content(path)
                .is_some_and(|content| content != found.content)
        })
    }

    fn content(&self, path: &Path) -> Option<Option<u64>> {
        self.files.get(path).map(|found| found.content)
    }
}

fn look(path: &Path, before: Option<&Found>) -> Found {
    let metadata = match std::fs::metadata(path) {
        Ok(file) => Metadata(
            file.dev(),
            file.ino(),
            file.len(),
            (file.mtime(), file.mtime_nsec()),
            (file.ctime(), file.ctime_nsec()),
        ),
        Err(_) => Metadata::default(),
    };
    if let Some(before) = before
        && before.metadata == metadata
        && metadata.2 > ALWAYS_READ
    {
        return *before;
    }
    Found {
        content: hash(path).ok(),
        metadata,
    }
}

fn hash(path: &Path) -> io::Result<u64> {
    // To open a pipe would wait for someone to write to it, and nothing would be watched meanwhile.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.digest());
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_same_length_and_a_missing_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let paths = [path.clone()];
        let first = Fingerprint::of(&paths);
        assert!(first.changed(&first.again(&paths)).is_empty());
        std::fs::write(&path, "two").unwrap();
        assert_eq!(first.changed(&first.again(&paths)), paths);
        std::fs::remove_file(&path).unwrap();
        assert!(first.differs_where_both_looked(&first.again(&paths)));
    }

    #[test]
    fn a_pipe_counts_as_unreadable_and_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert_eq!(
            Fingerprint::of(std::slice::from_ref(&path)).content(&path),
            Some(None)
        );
    }

    #[test]
    fn a_file_that_was_only_touched_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let paths = [path.clone()];
        let first = Fingerprint::of(&paths);
        std::fs::write(&path, "one").unwrap();
        assert!(first.changed(&first.again(&paths)).is_empty());
    }
}
