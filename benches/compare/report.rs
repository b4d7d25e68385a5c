//! The table: medians, and the ratio to the best of the others; then those of the studies.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cell::Taken;
use crate::median::median;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::row::Row;
use crate::studies::findings::Findings;

/// What Meridian may need of the best of the others.
const BAR: f64 = 0.9;

/// A row as measured: for each proxy nothing where it cannot, or its rounds, or why there are none.
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) cells: Vec<Option<io::Result<Vec<Taken>>>>,
}

/// The table so far.
pub(crate) struct Report {
    proxies: Vec<(Proxy, String)>,
    lines: Vec<Line>,
    findings: Vec<Findings>,
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
            "microseconds of processor per request, in brackets those outside the kernel"
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
        if !options.rows.is_empty() {
            let heads: Vec<_> = proxies.iter().map(|(proxy, _)| proxy.name()).collect();
            writeln!(out, "| traffic | {} | ratio |", heads.join(" | "))?;
            writeln!(out, "|---|{}", "---|".repeat(heads.len() + 1))?;
        }
        Ok(Self {
            proxies,
            lines: Vec::new(),
            findings: Vec::new(),
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

    /// Adds the table of a study and writes it.
    pub(crate) fn add_findings(
        &mut self,
        findings: Findings,
        out: &mut impl Write,
    ) -> io::Result<()> {
        findings.show(out)?;
        self.findings.push(findings);
        Ok(())
    }

    /// What Meridian needs of what the best of the others needs.
    fn ratio(&self, line: &Line) -> Option<f64> {
        let all = || self.proxies().zip(&line.cells);
        let of = |cell: &Option<io::Result<Vec<Taken>>>| needed(cell.as_ref()?.as_ref().ok()?);
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
                    Some(Err(problem)) => json!({ "problem": problem.to_string() }),
                    Some(Ok(rounds)) => rounds
                        .iter()
                        .map(round)
                        .collect(),
                };
                json!({"proxy": proxy.name(), "version": version, "rounds": rounds})
            });
            json!({"row": line.row.name, "ratio": self.ratio(line), "cells": cells.collect::<Value>()})
        });
        let findings = self.findings.iter().map(Findings::json);
        let all: Value = lines.chain(findings).collect();
        fs::write(file, format!("{all:#}\n"))
    }

    /// Failure where the bar counts and a row misses it.
    pub(crate) fn verdict(&self, is_checked: bool) -> ExitCode {
        let misses = |line: &Line| self.ratio(line).is_none_or(|ratio| ratio > BAR);
        let falls_short = |findings: &Findings| !findings.meets_the_bar();
        let any = self.lines.iter().any(misses) || self.findings.iter().any(falls_short);
        if is_checked && any {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

fn round(taken: &Taken) -> Value {
    json!({"per_request": taken.per_request, "own": taken.own, "rate": taken.rate})
}

fn shown(cell: &Option<io::Result<Vec<Taken>>>) -> String {
    match cell {
        None => "-".to_owned(),
        Some(Err(_)) => "failed".to_owned(),
        Some(Ok(rounds)) => {
            let own = median(rounds.iter().filter_map(|taken| taken.own).collect());
            match (needed(rounds), own) {
                (None, _) => "-".to_owned(),
                (Some(needed), None) => format!("{needed:.1}"),
                (Some(needed), Some(own)) => format!("{needed:.1} ({own:.1})"),
            }
        }
    }
}

/// What a request needed: the median of all rounds.
fn needed(rounds: &[Taken]) -> Option<f64> {
    median(rounds.iter().map(|taken| taken.per_request).collect())
}
