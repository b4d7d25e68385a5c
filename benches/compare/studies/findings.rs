//! What a study found: a small table, with a line for each proxy and its units in the head.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::proxy::Proxy;
use crate::study::Study;

/// The numbers of one proxy, in the order of the heads; nothing where it cannot do this at all.
pub(crate) type Measured = Option<io::Result<Vec<f64>>>;

/// What Meridian must reach.
pub(super) struct Bar {
    /// Which of the numbers.
    pub(super) column: usize,
    pub(super) is_met: fn(f64) -> bool,
}

/// The table.
pub(crate) struct Findings {
    pub(super) study: Study,
    /// What is only known once it has been measured.
    pub(super) note: Option<String>,
    pub(super) heads: &'static [&'static str],
    pub(super) lines: Vec<(Proxy, Measured)>,
    pub(super) bar: Option<Bar>,
}

impl Findings {
    /// Writes the table, and to standard error why numbers are missing.
    pub(crate) fn show(&self, out: &mut impl Write) -> io::Result<()> {
        let note = self.note.iter().map(|note| format!(": {note}"));
        let title = self.study.title();
        let heads = self.heads.join(" | ");
        writeln!(out, "\n{title}{}\n", note.collect::<String>())?;
        writeln!(out, "| proxy | {heads} |")?;
        writeln!(out, "|---|{}", "---|".repeat(self.heads.len()))?;
        for (proxy, measured) in &self.lines {
            let cells = match measured {
                Some(Ok(numbers)) => numbers.iter().copied().map(shown).collect(),
                Some(Err(problem)) => {
                    let name = self.study.name();
                    writeln!(io::stderr(), "{name} {}: {problem}", proxy.name())?;
                    vec!["-".to_owned(); self.heads.len()]
                }
                None => vec!["-".to_owned(); self.heads.len()],
            };
            writeln!(out, "| {} | {} |", proxy.name(), cells.join(" | "))?;
        }
        out.flush()
    }

    /// The same for `target/compare.json`.
    pub(crate) fn json(&self) -> Value {
        let cells = self.lines.iter().map(|(proxy, measured)| {
            let numbers = match measured {
                None => Value::Null,
                Some(Err(problem)) => json!({ "problem": problem.to_string() }),
                Some(Ok(numbers)) => json!(numbers),
            };
            json!({"proxy": proxy.name(), "numbers": numbers})
        });
        let cells: Value = cells.collect();
        json!({"row": self.study.name(), "note": self.note, "heads": self.heads, "cells": cells})
    }

    /// Whether Meridian reaches what it must; a study without a bar asks only for numbers.
    pub(crate) fn meets_the_bar(&self) -> bool {
        let mut lines = self.lines.iter();
        let ours = lines.find(|(proxy, _)| *proxy == Proxy::Meridian);
        let Some((_, Some(Ok(numbers)))) = ours else {
            return false;
        };
        self.bar
            .as_ref()
            .is_none_or(|bar| numbers.get(bar.column).copied().is_some_and(bar.is_met))
    }
}

/// Three digits or so, which is more than rounds agree on.
fn shown(number: f64) -> String {
    if number.fract() == 0.0 || number >= 100.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}
