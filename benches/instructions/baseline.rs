//! What was counted before.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use crate::count::Count;
use crate::machine::Machine;
use crate::row::Row;

/// Where it is kept.
const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/baseline.toml"
);

/// A file of counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Baseline {
    pub(crate) machine: Machine,
    rows: BTreeMap<String, Saved>,
}

/// One row of it, per request.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Saved {
    pub(crate) instructions: u64,
    pub(crate) allocations: f64,
}

impl Baseline {
    /// An empty one.
    pub(crate) fn new(machine: Machine) -> Self {
        let rows = BTreeMap::new();
        Self { machine, rows }
    }

    /// The saved one, if there is one.
    pub(crate) fn load() -> io::Result<Option<Self>> {
        match fs::read_to_string(FILE) {
            Ok(text) => toml::from_str(&text).map_err(io::Error::other).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it where [`Self::load`] finds it.
    pub(crate) fn save(&self) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let head = "# Written by `cargo bench --bench instructions -- --save`.\n";
        fs::write(FILE, format!("{head}{text}"))
    }

    /// What it says of a row.
    pub(crate) fn row(&self, row: &Row) -> Option<Saved> {
        self.rows.get(row.name).copied()
    }

    /// Says something new of a row.
    pub(crate) fn set(&mut self, row: &Row, count: &Count) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are positive and far below 2^52"
        )]
        let saved = Saved {
            instructions: count.instructions().round() as u64,
            allocations: (count.allocations() * 100.0).round() / 100.0,
        };
        self.rows.insert(row.name.to_owned(), saved);
    }
}
