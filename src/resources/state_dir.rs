//! The directory that outlives the process: files in it are whole or absent, never half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The largest file that is read back: thousands of endpoints take less than a tenth.
const LARGEST: u64 = 16 << 20;

/// What a file is called until it is whole; the process's number comes before it.
const UNFINISHED: &str = ".unfinished";

/// Unfinished files older than this belong to a process that died while it wrote.
const ABANDONED: Duration = Duration::from_secs(60);

/// A directory for state that this process may write to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

/// Why a directory cannot hold state.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// A file, a socket or the like.
    #[error("{}: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// It is not there and cannot be made.
    #[error("{}: cannot be made: {cause}", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// No file can be made in it.
    #[error("{}: cannot be written to: {cause}", path.display())]
    NotWritable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

impl StateDir {
    /// The directory at `path`, which nobody has looked at yet.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The directory at `path`, made where it is missing, for this user only, and tried out. What
    /// a process left unfinished long before `now` is removed.
    ///
    /// # Errors
    /// When it can hold no file of this user. A full disk is no error: it may be empty again when
    /// there is something to write.
    pub fn open(path: &Path, now: SystemTime) -> Result<Self, StateDirError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        if let Err(cause) = made {
            return Err(not_made(path, cause));
        }
        let dir = Self::at(path);
        dir.try_out(path)?;
        dir.tidy_up(now);
        Ok(dir)
    }

    /// Whether [`open`](Self::open) would succeed at `path`; makes nothing that stays.
    ///
    /// # Errors
    /// When it would not.
    pub fn check(path: &Path) -> Result<(), StateDirError> {
        let dir = Self::at(path);
        let there = path.ancestors().find(|one| one.symlink_metadata().is_ok());
        match there {
            Some(one) if one.is_dir() => dir.try_out(one),
            Some(one) => Err(StateDirError::NotADirectory(one.to_owned())),
            // Relative, and nothing of it is there: it would be made below the current directory.
            None => dir.try_out(Path::new(".")),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of a file in it; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, is no text, or is larger than any state.
    pub fn read(&self, name: &str) -> io::Result<Option<String>> {
        let path = self.path.join(name);
        // To open a pipe might wait for ever.
        match fs::metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(io::Error::other("not a file")),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut text = String::new();
        let read = File::open(&path)?
            .take(LARGEST + 1)
            .read_to_string(&mut text)?;
        if read as u64 > LARGEST {
            return Err(io::Error::other("larger than 16 MiB"));
        }
        Ok(Some(text))
    }

    /// Puts `text` into a file that only this user can read. Readers see the old text or the new
    /// one, after a crash of the machine too.
    ///
    /// # Errors
    /// When the system refuses; the old text stays.
    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let unfinished = self.unfinished(&self.path, name);
        let written = create(&unfinished).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, self.path.join(name))
        });
        if written.is_err() {
            // What is half written helps nobody, least of all on a full disk.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        // The name is kept in the directory: without this it may be gone after a crash.
        File::open(&self.path)?.sync_all()
    }

    /// Makes a file in `folder` and takes it away again.
    fn try_out(&self, folder: &Path) -> Result<(), StateDirError> {
        let trial = self.unfinished(folder, "trial");
        match create(&trial) {
            Ok(_) => {
                let _ = fs::remove_file(&trial);
                Ok(())
            }
            Err(cause) if is_full(&cause) => Ok(()),
            Err(cause) => Err(StateDirError::NotWritable {
                path: folder.to_owned(),
                cause,
            }),
        }
    }

    /// Another process may write beside this one while it takes over.
    fn unfinished(&self, folder: &Path, name: &str) -> PathBuf {
        folder.join(format!(".{name}.{}{UNFINISHED}", std::process::id()))
    }

    fn tidy_up(&self, now: SystemTime) {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|at| now.duration_since(at).ok());
            let ours = name.to_string_lossy().ends_with(UNFINISHED);
            if ours && age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A new file for this user only, in the place of one that a process of the same number left.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn not_made(path: &Path, cause: io::Error) -> StateDirError {
    match cause.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            StateDirError::NotADirectory(path.to_owned())
        }
        _ => StateDirError::Missing {
            path: path.to_owned(),
            cause,
        },
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(dir: &StateDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn what_is_written_is_read_by_this_user_only_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let dir = StateDir::open(&path, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(dir.read("state.json").unwrap(), None);
        dir.write("state.json", "one").unwrap();
        dir.write("state.json", "two").unwrap();
        assert_eq!(dir.read("state.json").unwrap().unwrap(), "two");
        assert_eq!(names(&dir), ["state.json"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path.join("state.json")), 0o600);
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn a_reader_never_sees_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::open(folder.path(), SystemTime::UNIX_EPOCH).unwrap();
        let (short, long) = ("a".repeat(10), "b".repeat(1 << 20));
        dir.write("state.json", &short).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for _ in 0..20 {
                    dir.write("state.json", &long).unwrap();
                    dir.write("state.json", &short).unwrap();
                }
            });
            while !writer.is_finished() {
                let text = dir.read("state.json").unwrap().unwrap();
                assert!(text == short || text == long, "{} bytes", text.len());
            }
        });
    }

    #[test]
    fn what_a_dead_process_left_is_removed_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!(".state.json.1{UNFINISHED}"));
        fs::write(&left, "ha").unwrap();
        let modified = fs::metadata(&left).unwrap().modified().unwrap();
        StateDir::open(folder.path(), modified).unwrap();
        assert!(left.exists(), "it may be another process's of now");
        StateDir::open(folder.path(), modified + ABANDONED * 2).unwrap();
        assert!(!left.exists());
    }

    #[test]
    fn a_check_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        StateDir::check(&folder.path().join("a/b")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let check = StateDir::check(&path).unwrap_err().to_string();
            assert!(check.ends_with("file: not a directory"), "{check}");
            let open = StateDir::open(&path, SystemTime::UNIX_EPOCH).unwrap_err();
            assert!(matches!(open, StateDirError::NotADirectory(_)), "{open}");
        }
    }

    #[test]
    fn a_huge_file_and_one_that_is_no_text_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StateDir::at(folder.path());
        let huge = File::create(folder.path().join("huge")).unwrap();
        huge.set_len(LARGEST + 1).unwrap();
        let error = dir.read("huge").unwrap_err().to_string();
        assert_eq!(error, "larger than 16 MiB");
        fs::write(folder.path().join("binary"), [0xff, 0xfe]).unwrap();
        assert!(dir.read("binary").is_err());
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(dir.read("folder").unwrap_err().to_string(), "not a file");
    }
}
