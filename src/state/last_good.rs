//! The last configuration that served, as it was written: variables, secrets in other files and
//! the names of certificates are kept as names, never as what they stand for.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::load;
use crate::resources::state_dir::StateDir;
use meridian_core::config::problems::Problems;
use meridian_core::config::{self, Config, Reader};

/// The file it is kept in.
pub const FILE: &str = "last-good.toml";

const FORMAT: u32 = 1;

const HEADING: &str = "\
# The configuration that served last, kept by Meridian for `meridian run --last-good`.
# It is written anew after each reload; to change it changes nothing.

";

/// The texts of a configuration's files, the main one first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    format: u32,
    file: Vec<KeptFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    text: String,
}

/// Why there is no such configuration.
#[derive(Debug, thiserror::Error)]
pub enum NoLastGood {
    /// None was kept yet.
    #[error("{}: no such file", .0.display())]
    Missing(PathBuf),
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is of no known form.
    #[error("{}: {cause}", path.display())]
    NotUnderstood {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
}

impl LastGood {
    /// The texts of `config`. Their paths are made absolute, so that they mean the same whatever
    /// directory the next process starts in.
    ///
    /// # Errors
    /// When the current directory is gone.
    pub fn of(config: &Config) -> io::Result<Self> {
        let files = config.sources.iter().map(|source| {
            Ok(KeptFile {
                path: std::path::absolute(&source.path)?,
                text: source.text.clone(),
            })
        });
        Ok(Self {
            format: FORMAT,
            file: files.collect::<io::Result<_>>()?,
        })
    }

    /// The one that is kept in `dir`.
    ///
    /// # Errors
    /// When there is none, or none that can be read.
    pub fn read(dir: &Path) -> Result<Self, NoLastGood> {
        let path = dir.join(FILE);
        let text = match StateDir::at(dir).read(FILE) {
            Ok(Some(text)) => text,
            Ok(None) => return Err(NoLastGood::Missing(path)),
            Err(cause) => return Err(NoLastGood::Unreadable { path, cause }),
        };
        Self::parse(&text).map_err(|cause| NoLastGood::NotUnderstood { path, cause })
    }

    /// As it is kept.
    ///
    /// # Errors
    /// When a path is no text.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        Ok(format!("{HEADING}{}", toml::to_string_pretty(self)?))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let kept: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        if kept.format != FORMAT {
            let format = kept.format;
            return Err(format!(
                "it is of format {format}, and this version reads {FORMAT}"
            ));
        }
        if kept.file.is_empty() {
            return Err("it holds no file".to_owned());
        }
        Ok(kept)
    }

    /// Where the main file was, and where the next reload looks for it.
    #[must_use]
    pub fn main(&self) -> &Path {
        self.file
            .first()
            .map_or_else(|| Path::new(""), |file| &file.path)
    }

    /// Checks it as if its files were on disk where they were; variables and secrets are those of
    /// now.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place.
    pub fn load(&self) -> Result<Config, Problems> {
        let kept = |path: &Path| self.file.iter().find(|file| file.path == path);
        let read = |path: &Path| match kept(path) {
            Some(file) => Ok(file.text.clone()),
            // A secret that stands in a file of its own is not kept.
            None => load::text_of(path),
        };
        let list = |folder: &Path| {
            let below = self.file.iter().map(|file| file.path.clone());
            Ok(below.filter(|path| path.parent() == Some(folder)).collect())
        };
        let reader = Reader {
            read: &read,
            list: &list,
            env: &|name| std::env::var(name).ok(),
        };
        config::load(self.main(), &reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "include = [\"more/*.toml\"]\n\
        [[listener]]\naddress = \"127.0.0.1:0\"\n\
        [region.a]\norigins = [\"http://${MERIDIAN_TEST_NOBODY:-127.0.0.1}:1\"]\n";
    const MORE: &str =
        "# it's \"\"\"quoted\"\"\" '''twice'''\n[[route]]\nname = \"all\"\nregions = [\"a\"]\n";

    #[test]
    fn included_files_and_variables_are_kept_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("meridian.toml");
        std::fs::create_dir(folder.path().join("more")).unwrap();
        std::fs::write(&main, TEXT).unwrap();
        std::fs::write(folder.path().join("more/a.toml"), MORE).unwrap();
        let config = load::read(&main).unwrap();
        let text = LastGood::of(&config).unwrap().to_toml().unwrap();
        assert!(text.contains("${MERIDIAN_TEST_NOBODY:-127.0.0.1}"));

        std::fs::remove_dir_all(folder.path().join("more")).unwrap();
        std::fs::write(&main, "broken").unwrap();
        let kept = LastGood::parse(&text).unwrap();
        assert_eq!(kept.main(), main);
        let again = kept.load().unwrap();
        assert_eq!(again.sources, config.sources);
        assert_eq!(again.content_hash, config.content_hash);
        assert_eq!(&*again.table.routes[0].name, "all");
    }

    #[test]
    fn another_format_and_rubbish_are_not_understood() {
        let error = LastGood::parse("format = 2\nfile = []").unwrap_err();
        assert_eq!(error, "it is of format 2, and this version reads 1");
        for rubbish in ["", "format = 1", "format = 1\nfile = []", "half = '"] {
            assert!(LastGood::parse(rubbish).is_err(), "{rubbish}");
        }
    }
}
