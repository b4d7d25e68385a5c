//! The table: medians, and the ratio to the best of the others.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cell::Taken;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::Row;

/// What Meridian may need of the best of the others.
const BAR: f64 = 0.9;

/// A row as measured: for each proxy nothing where it cannot, or its rounds, or why there are none.
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) cells: Vec<Option<Result<Vec<Taken>, String>>>,
}

/// The table so far.
pub(crate) struct Report {
    proxies: Vec<(Proxy, String)>,
    lines: Vec<Line>,
}

impl Report {
    /// Writes the head of the table.
    pub(crate) fn begin(
        options: &Options,
        proxies: Vec<(Proxy, String)>,
        out: &mut impl Write,
    ) -> io::Result<Self> {
        let unit = if options.counts_calls {
            "system calls per request"
        } else {
            "microseconds of processor per request"
        };
        let all: Vec<_> = proxies
            .iter()
            .map(|(proxy, version)| format!("{} {version}", proxy.name()))
            .collect();
        writeln!(
            out,
            "{unit}; {} rounds of {} s; {}\n",
            options.rounds,
            options.length.as_secs(),
            all.join(", ")
        )?;
        let heads: Vec<_> = proxies.iter().map(|(proxy, _)| proxy.name()).collect();
        writeln!(out, "| traffic | {} | ratio |", heads.join(" | "))?;
        writeln!(out, "|---|{}", "---|".repeat(heads.len() + 1))?;
        Ok(Self {
            proxies,
            lines: Vec::new(),
        })
    }

    pub(crate) fn proxies(&self) -> impl Iterator<Item = Proxy> {
        self.proxies.iter().map(|(proxy, _)| *proxy)
    }

    /// Adds a row and writes it.
    pub(crate) fn add(&mut self, line: Line, out: &mut impl Write) -> io::Result<()> {
        let cells: Vec<_> = line.cells.iter().map(shown).collect();
        let ratio = self
            .ratio(&line)
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        writeln!(
            out,
            "| {} | {} | {ratio} |",
            line.row.title,
            cells.join(" | ")
        )?;
        for (proxy, cell) in self.proxies().zip(&line.cells) {
            if let Some(Err(problem)) = cell {
                writeln!(
                    io::stderr(),
                    "{} {}: {problem}",
                    line.row.name,
                    proxy.name()
                )?;
            }
        }
        self.lines.push(line);
        out.flush()
    }

    /// What Meridian needs of what the best of the others needs.
    fn ratio(&self, line: &Line) -> Option<f64> {
        let all = || self.proxies().zip(&line.cells);
        let of = |cell: &Option<Result<Vec<Taken>, String>>| median(cell.as_ref()?.as_ref().ok()?);
        let ours = all().find(|(proxy, _)| *proxy == Proxy::Meridian)?;
        let others = all().filter(|(proxy, _)| *proxy != Proxy::Meridian);
        let best = others
            .filter_map(|(_, cell)| of(cell))
            .min_by(f64::total_cmp)?;
        Some(of(ours.1)? / best)
    }

    /// Every round of every cell.
    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        let lines = self.lines.iter().map(|line| {
            let cells = self.proxies.iter().zip(&line.cells).map(|((proxy, version), cell)| {
                let rounds = match cell {
                    None => Value::Null,
                    Some(Err(problem)) => json!({ "problem": problem }),
                    Some(Ok(rounds)) => rounds
                        .iter()
                        .map(|taken| json!({"per_request": taken.per_request, "rate": taken.rate}))
                        .collect(),
                };
                json!({"proxy": proxy.name(), "version": version, "rounds": rounds})
            });
            json!({"row": line.row.name, "ratio": self.ratio(line), "cells": cells.collect::<Value>()})
        });
        fs::write(file, format!("{:#}\n", lines.collect::<Value>()))
    }

    /// Failure where the bar counts and a row misses it.
    pub(crate) fn verdict(&self, is_checked: bool) -> ExitCode {
        let misses = |line: &Line| self.ratio(line).is_none_or(|ratio| ratio > BAR);
        if is_checked && self.lines.iter().any(misses) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

fn shown(cell: &Option<Result<Vec<Taken>, String>>) -> String {
    match cell {
        None => "-".to_owned(),
        Some(Err(_)) => "failed".to_owned(),
        Some(Ok(rounds)) => {
            median(rounds).map_or_else(|| "-".to_owned(), |median| format!("{median:.1}"))
        }
    }
}

/// The median of processor time per request; of an even count the lower one.
fn median(rounds: &[Taken]) -> Option<f64> {
    let mut all: Vec<_> = rounds.iter().map(|taken| taken.per_request).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len().checked_sub(1)? / 2).copied()
}
