//! The table, and what it says of the baseline.

use std::io::{self, Write};

use crate::baseline::{Baseline, Saved};
use crate::count::Count;
use crate::machine::Machine;
use crate::row::Row;

/// A row may be so many per cent above the baseline; runs differ by less than a tenth of it.
const INSTRUCTIONS_LIMIT: f64 = 3.0;
/// One in two requests may allocate once more: hash maps and lists grow now and then.
const ALLOCATIONS_LIMIT: f64 = 0.5;

/// What is printed, row by row.
pub(crate) struct Report<'a, W> {
    out: W,
    /// `None` when there is none.
    baseline: Option<&'a Baseline>,
    is_comparable: bool,
    above: Vec<&'static str>,
}

impl<'a, W: Write> Report<'a, W> {
    /// Prints the head.
    pub(crate) fn begin(
        mut out: W,
        machine: &Machine,
        baseline: Option<&'a Baseline>,
    ) -> io::Result<Self> {
        let differences = baseline.map(|baseline| machine.differences(&baseline.machine));
        if differences.is_none() {
            writeln!(out, "There is no baseline; --save makes one.")?;
        }
        for difference in differences.iter().flatten() {
            writeln!(out, "The baseline is another machine's: {difference}")?;
        }
        let is_comparable = differences.is_some_and(|differences| differences.is_empty());
        writeln!(
            out,
            "{:10} {:>12} {:>9} {:>8}   {:>11} {:>9}",
            "request", "instructions", "baseline", "windows", "allocations", "baseline"
        )?;
        Ok(Self {
            out,
            baseline,
            is_comparable,
            above: Vec::new(),
        })
    }

    /// Prints a row; its functions that allocate too, if that is wanted.
    pub(crate) fn add(&mut self, row: &Row, count: &Count, details: bool) -> io::Result<()> {
        let saved = self.baseline.and_then(|baseline| baseline.row(row));
        let change = saved.map(|saved| Change::of(count, saved));
        // A row without a baseline gates nothing: it is to be saved.
        if self.is_comparable && change.is_none_or(Change::is_above) {
            self.above.push(row.name);
        }
        writeln!(
            self.out,
            "{:10} {:>12.0} {:>9} {:>8}   {:>11.2} {:>9}",
            row.name,
            count.instructions(),
            change.map_or_else(String::new, |it| format!("{:+.2} %", it.instructions)),
            format!("{:.2} %", count.spread()),
            count.allocations(),
            change.map_or_else(String::new, |it| format!("{:+.2}", it.allocations)),
        )?;
        let functions = count.allocating();
        let often = functions.iter().filter(|(_, calls)| *calls >= 0.01);
        for (function, calls) in often.take_while(|_| details) {
            writeln!(self.out, "{calls:>53.2} {function}")?;
        }
        self.out.flush()
    }

    /// Prints the rows above the baseline; true when there are none.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        for name in &self.above {
            writeln!(self.out, "{name} is above the baseline, or not in it")?;
        }
        Ok(self.above.is_empty())
    }
}

/// What changed since the baseline.
#[derive(Clone, Copy)]
struct Change {
    /// In per cent.
    instructions: f64,
    allocations: f64,
}

impl Change {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn of(count: &Count, saved: Saved) -> Self {
        Self {
            instructions: (count.instructions() / saved.instructions as f64 - 1.0) * 100.0,
            allocations: count.allocations() - saved.allocations,
        }
    }

    fn is_above(self) -> bool {
        self.instructions > INSTRUCTIONS_LIMIT || self.allocations > ALLOCATIONS_LIMIT
    }
}
