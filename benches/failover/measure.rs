//! What the client saw, in numbers, and whether that is good enough.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cell::Timing;
use crate::fault::{Fault, Forgiven};
use crate::proxy::Proxy;
use crate::region::DELAYS;
use crate::viewer::Sample;

/// How much longer than the next region takes a GET may wait.
const WAIT_BAR: Duration = Duration::from_millis(300);
/// What a busy machine may add to a p99.
const NOISE: Duration = Duration::from_millis(60);
/// When nobody is to notice the fault any more.
const GRACE: Duration = Duration::from_secs(1);
/// Traffic is counted as moved by who served most of such a span.
const WINDOW: Duration = Duration::from_millis(250);
/// How long after the fault the preferred region is to have its traffic back.
const RETURN: Duration = Duration::from_secs(8);

/// One cell of the table.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    gets: usize,
    gets_lost: usize,
    writes: usize,
    writes_lost: usize,
    /// Lost without a clear 502, 503 or 504.
    writes_unclear: usize,
    /// Lost although due later than one second after the fault began.
    writes_lost_late: usize,
    executed_twice: usize,
    /// The longest wait of a GET beyond what the next region takes.
    extra_wait: Duration,
    /// GETs that waited over the bar.
    waited: usize,
    /// From one second after the fault began until it was over.
    p99: Duration,
    /// From when the fault was over.
    p99_after: Duration,
    moves: usize,
    moves_bar: usize,
    /// Whether the preferred region has its traffic back at the end.
    is_back: bool,
    /// Whether it was watched for long enough to demand that.
    is_return_due: bool,
    p99_bar: Duration,
}

impl Numbers {
    /// Counts `samples`; those due before the fault are left out, but for the moves.
    pub(crate) fn of(
        samples: &[Sample],
        proxy: Proxy,
        fault: Fault,
        timing: Timing,
        executed_twice: usize,
    ) -> Self {
        let next = DELAYS[fault.regions.min(DELAYS.len() - 1)];
        let healed = timing.before + timing.fault;
        // A request that was under way when the fault began is part of it.
        let begin = timing.before.saturating_sub(DELAYS[0]);
        let during = || samples.iter().filter(|sample| sample.due >= begin);
        let gets = || during().filter(|sample| !sample.is_write);
        let writes = || during().filter(|sample| sample.is_write);
        let lost = |sample: &&Sample| sample.region.is_none();
        let late = timing.before + GRACE;
        // A 503 is the region's own answer. Of itself Meridian also demands a `Proxy-Status`.
        let is_said = proxy != Proxy::Meridian;
        let is_clear = |sample: &&Sample| match sample.status {
            Some((502 | 504, said)) => said || is_said,
            status => matches!(status, Some((503, _))),
        };
        let longest = gets().map(|sample| sample.wait).max().unwrap_or_default();
        let forgiven = match fault.forgiven {
            Forgiven::None => Duration::ZERO,
            Forgiven::FirstSecond => late,
            Forgiven::WhileItLasts => healed + GRACE,
        };
        let counts = |sample: &&Sample| sample.due >= forgiven;
        let moves = moves(samples, timing);
        Self {
            gets: gets().count(),
            gets_lost: gets().filter(lost).filter(counts).count(),
            writes: writes().count(),
            writes_lost: writes().filter(lost).count(),
            writes_unclear: writes().filter(lost).filter(|one| !is_clear(one)).count(),
            writes_lost_late: writes()
                .filter(lost)
                .filter(|one| one.due >= late.max(forgiven))
                .count(),
            executed_twice,
            extra_wait: longest.saturating_sub(next),
            waited: gets().filter(|one| one.wait > next + WAIT_BAR).count(),
            p99: p99(gets().filter(|one| one.due >= late && one.due < healed)),
            p99_after: p99(gets().filter(|one| one.due >= healed)),
            moves: moves.len(),
            moves_bar: fault.moves,
            is_back: moves.last().is_none_or(|region| *region == 0),
            is_return_due: timing.after >= RETURN,
            p99_bar: next + NOISE,
        }
    }

    /// Why the bar is missed, in few words; empty where it is met.
    pub(crate) fn misses(&self) -> Vec<String> {
        let count = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let late_or_unclear = self.writes_lost_late.max(self.writes_unclear);
        let slow = |p99: Duration, what: &str| {
            (p99 > self.p99_bar).then(|| format!("{what} {}", seconds(p99)))
        };
        [
            count(self.gets_lost, "GET lost"),
            (late_or_unclear > 0).then(|| format!("{} POST lost", self.writes_lost)),
            count(self.executed_twice, "twice"),
            (self.waited > 0).then(|| {
                let (waits, count) = (seconds(self.extra_wait), self.waited);
                format!("{waits} waits ({count})")
            }),
            slow(self.p99, "p99"),
            slow(self.p99_after, "p99 after"),
            (self.moves > self.moves_bar).then(|| format!("{} moves", self.moves)),
            (self.is_return_due && !self.is_back).then(|| "not back".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The cell as the table shows it.
    pub(crate) fn short(&self) -> String {
        let misses = self.misses();
        match (misses.is_empty(), self.writes_lost) {
            (false, _) => misses.join(", "),
            (true, 0) => "ok".to_owned(),
            (true, lost) => format!("ok ({lost} POST refused)"),
        }
    }

    /// Every number on one line.
    pub(crate) fn long(&self) -> String {
        format!(
            "GET {} lost {}; POST {} lost {} (unclear {}, late {}); twice {}; waits {} ms beyond \
             the next region, {} over the bar; p99 {} ms, after {} ms; moves {}, {}",
            self.gets,
            self.gets_lost,
            self.writes,
            self.writes_lost,
            self.writes_unclear,
            self.writes_lost_late,
            self.executed_twice,
            self.extra_wait.as_millis(),
            self.waited,
            self.p99.as_millis(),
            self.p99_after.as_millis(),
            self.moves,
            if self.is_back { "back" } else { "not back" },
        )
    }

    /// Every number for other programs; times in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        json!({
            "cell": self.short(),
            "meets_bar": self.misses().is_empty(),
            "gets": self.gets,
            "gets_lost": self.gets_lost,
            "posts": self.writes,
            "posts_lost": self.writes_lost,
            "posts_lost_unclear": self.writes_unclear,
            "posts_lost_late": self.writes_lost_late,
            "executed_twice": self.executed_twice,
            "extra_wait_ms": millis(self.extra_wait),
            "gets_over_wait_bar": self.waited,
            "p99_ms": millis(self.p99),
            "p99_after_ms": millis(self.p99_after),
            "moves": self.moves,
            "is_back": self.is_back,
        })
    }
}

/// 99 of 100 waits are at most this.
fn p99<'a>(samples: impl Iterator<Item = &'a Sample>) -> Duration {
    let mut waits: Vec<_> = samples.map(|sample| sample.wait).collect();
    waits.sort_unstable();
    let at = (waits.len() * 99).div_ceil(100).saturating_sub(1);
    waits.get(at).copied().unwrap_or_default()
}

/// The regions that most of the traffic moved to, one after the other; it begins at the first.
fn moves(samples: &[Sample], timing: Timing) -> Vec<usize> {
    let length = timing.before + timing.fault + timing.after;
    let windows = length.as_millis().div_ceil(WINDOW.as_millis());
    let mut served = vec![[0_usize; 3]; usize::try_from(windows).unwrap_or_default()];
    for sample in samples {
        let window = usize::try_from(sample.due.as_millis() / WINDOW.as_millis());
        let window = window.ok().and_then(|at| served.get_mut(at));
        if let (Some(window), Some(region)) = (window, sample.region) {
            window[region] += 1;
        }
    }
    let mut moves = Vec::new();
    let mut current = 0;
    for window in served {
        let most = (0..3).find(|region| window[*region] * 2 > window.iter().sum());
        if let Some(region) = most.filter(|region| *region != current) {
            moves.push(region);
            current = region;
        }
    }
    moves
}
