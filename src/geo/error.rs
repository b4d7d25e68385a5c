//! Why a database of addresses cannot be used.

use std::path::{Path, PathBuf};

/// Why a database could not be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file is missing or may not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no MMDB, or has lost its end.
    #[error("{} is no MMDB file, or a truncated one: {reason}", path.display())]
    NotMmdb {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An MMDB whose tree or records are broken.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An MMDB about something else.
    #[error(
        "{} ({kind}) has no country code in its records: neither country.iso_code, \
         country_code nor country",
        path.display()
    )]
    NoCountry {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        kind: String,
    },
}

impl GeoError {
    /// The file that could not be used.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::NotMmdb { path, .. }
            | Self::Damaged { path, .. }
            | Self::NoCountry { path, .. } => path,
        }
    }

    /// The error's kind as a metric label and log value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::NotMmdb { .. } => "not_mmdb",
            Self::Damaged { .. } => "damaged",
            Self::NoCountry { .. } => "no_country",
        }
    }
}
