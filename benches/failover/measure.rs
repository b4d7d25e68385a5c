//! What the client saw, in numbers, and whether that is good enough.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::{Behaviour, Fault, Forgiven, GRACE};
use crate::large;
use crate::ledger::Ledger;
use crate::moves::moves;
use crate::proxy::Proxy;
use crate::setup::Setup;
use crate::timing::Timing;
use crate::viewer::{Kind, Sample};

/// How much longer than the next region takes a GET may wait.
const WAIT_BAR: Duration = Duration::from_millis(300);
/// What a busy machine may add to a p99.
const NOISE: Duration = Duration::from_millis(60);
/// How long after the fault the preferred region is to have its traffic back.
const RETURN: Duration = Duration::from_secs(8);
/// How long a region may be used whose health names another one.
const DEPARTURE: Duration = Duration::from_secs(8);
/// Second attempts may be this share of the requests of the last ten seconds, per region, and a
/// few for each worker.
const BUDGET: (usize, usize) = (5, 3);

/// One cell of the table.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    gets: usize,
    gets_lost: usize,
    downloads: usize,
    downloads_lost: usize,
    writes: usize,
    writes_lost: usize,
    /// Lost without a clear 429, 502, 503 or 504.
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
    /// Of the POSTs that were served in that time.
    p99_writes: Duration,
    /// Of GETs from when the fault was over.
    p99_after: Duration,
    /// From the fault until the next region had served its first GET.
    next_after: Option<Duration>,
    moves: usize,
    /// Whether the traffic has ever moved.
    has_left: bool,
    /// Whether the preferred region has its traffic back at the end.
    is_back: bool,
    burst: Option<Burst>,
    bar: Bar,
}

/// What became of the requests that failed at one instant.
#[derive(Clone, Copy, Debug)]
struct Burst {
    lost: usize,
    /// Second attempts that one region got at most.
    again: usize,
    allowed: usize,
}

/// What is demanded besides that nothing is lost.
#[derive(Clone, Copy, Debug)]
struct Bar {
    p99: Duration,
    p99_after: Duration,
    moves: usize,
    must_leave: bool,
    /// Whether the region was watched for long enough to demand its traffic back.
    is_return_due: bool,
}

impl Bar {
    fn of(fault: Fault, timing: Timing, next: Duration) -> Self {
        let usual = fault.setup.delays()[0];
        let slowest = match fault.after {
            Behaviour::Cold => next.max(usual * 10),
            _ => next,
        };
        let noise = NOISE + fault.setup.noise();
        Self {
            p99: next + noise,
            p99_after: slowest + noise,
            moves: fault.moves,
            must_leave: fault.must_leave && timing.fault >= DEPARTURE,
            is_return_due: fault.setup != Setup::Close && timing.after >= RETURN,
        }
    }
}

impl Numbers {
    /// Counts `samples`; those over before the fault are left out, but for the moves.
    pub(crate) fn of(
        samples: &[Sample],
        proxy: Proxy,
        fault: Fault,
        timing: Timing,
        ledger: &Ledger,
    ) -> Self {
        let delays = fault.setup.delays();
        let next = next(fault);
        let healed = timing.before + timing.fault;
        let late = timing.before + GRACE;
        let forgiven = fault.forgiven.until(timing);
        let lost = |sample: &&Sample| sample.region.is_none();
        let counts = |sample: &&Sample| sample.due >= forgiven;
        // A request that was under way when the fault began is part of it.
        let is_during = |one: &&Sample| one.due + takes(one) + delays[0] >= timing.before;
        let of_kind = |kind| {
            let during = samples.iter().filter(is_during);
            during.filter(move |one| one.kind == kind)
        };
        let (gets, writes) = (|| of_kind(Kind::Get), || of_kind(Kind::Post));
        let downloads = || of_kind(Kind::Download);
        let is_timed = |one: &&Sample| counts(one) || !fault.forgiven.may_wait();
        let timed = || gets().filter(is_timed);
        let excess = |one: &Sample| one.wait.saturating_sub(takes(one) + next);
        let waits = || timed().chain(downloads()).map(excess);
        // What waits for a network that comes back is served by whoever is asked just then.
        let settled = samples.iter().filter(|one| {
            fault.forgiven != Forgiven::HoweverLong || one.due < timing.before || counts(one)
        });
        let length = healed + timing.after;
        let moves = moves(settled, length, fault.setup == Setup::Close);
        let next_after = gets().filter(|one| {
            let is_next = one.region.is_some_and(|one| one >= fault.whom.regions());
            is_next && one.due + one.wait >= timing.before
        });
        Self {
            gets: gets().count(),
            gets_lost: gets().filter(lost).filter(counts).count(),
            downloads: downloads().count(),
            downloads_lost: downloads().filter(lost).filter(counts).count(),
            writes: writes().count(),
            writes_lost: writes().filter(lost).count(),
            writes_unclear: writes()
                .filter(lost)
                .filter(|one| !is_clear(one, proxy))
                .count(),
            writes_lost_late: writes()
                .filter(lost)
                .filter(|one| one.due >= late.max(forgiven))
                .count(),
            executed_twice: ledger.executed_twice(),
            extra_wait: waits().max().unwrap_or_default(),
            waited: waits().filter(|wait| *wait > WAIT_BAR).count(),
            p99: p99(timed().filter(|one| one.due >= late && one.due < healed)),
            p99_writes: p99(writes().filter(is_timed).filter(|one| {
                let is_in = one.due >= late && one.due < healed;
                is_in && !lost(one)
            })),
            p99_after: p99(timed().filter(|one| one.due >= healed)),
            next_after: next_after
                .map(|one| (one.due + one.wait).saturating_sub(timing.before))
                .min(),
            moves: moves.len(),
            has_left: !moves.is_empty(),
            is_back: moves.last().is_none_or(|region| *region == 0),
            burst: (fault.setup == Setup::Burst).then(|| Burst::of(samples, timing, ledger)),
            bar: Bar::of(fault, timing, next),
        }
    }

    /// The bar of a fault in few words.
    pub(crate) fn bar(fault: Fault, timing: Timing) -> String {
        let bar = Bar::of(fault, timing, next(fault));
        let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
        let mut text = format!("p99 < {}", seconds(bar.p99));
        if bar.p99_after != bar.p99 {
            let _ = write!(text, ", then {}", seconds(bar.p99_after));
        }
        let _ = match bar.moves {
            0 => write!(text, ", stays"),
            1 => write!(text, ", 1 move"),
            moves => write!(text, ", {moves} moves"),
        };
        let until = fault.forgiven.until(timing).saturating_sub(timing.before);
        if !until.is_zero() {
            let _ = write!(text, ", GETs forgiven for {}", seconds(until));
        }
        text
    }

    /// Why the bar is missed, in few words; empty where it is met.
    pub(crate) fn misses(&self) -> Vec<String> {
        let count = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let late_or_unclear = self.writes_lost_late.max(self.writes_unclear);
        let slow = |p99: Duration, what: &str, bar: Duration| {
            (p99 > bar).then(|| format!("{what} {}", seconds(p99)))
        };
        [
            count(self.gets_lost, "GET lost"),
            (late_or_unclear > 0).then(|| format!("{} POST lost", self.writes_lost)),
            count(self.downloads_lost, "downloads lost"),
            count(self.executed_twice, "twice"),
            (self.waited > 0).then(|| {
                let (waits, count) = (seconds(self.extra_wait), self.waited);
                format!("{waits} waits ({count})")
            }),
            slow(self.p99, "p99", self.bar.p99),
            slow(self.p99_writes, "POST p99", self.bar.p99),
            slow(self.p99_after, "p99 after", self.bar.p99_after),
            self.burst.and_then(|burst| burst.miss()),
            (self.moves > self.bar.moves).then(|| format!("{} moves", self.moves)),
            (self.bar.must_leave && !self.has_left).then(|| "not left".to_owned()),
            (self.bar.is_return_due && !self.is_back).then(|| "not back".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The cell as the table shows it.
    pub(crate) fn short(&self) -> String {
        let misses = self.misses();
        let mut text = match (misses.is_empty(), self.writes_lost) {
            (false, _) => format!("MISSED: {}", misses.join(", ")),
            (true, 0) => "ok".to_owned(),
            (true, lost) => format!("ok ({lost} POST refused)"),
        };
        if let Some(after) = self.next_after.filter(|_| self.bar.moves > 1) {
            let _ = write!(text, "; next in {:.2} s", after.as_secs_f64());
        }
        text
    }

    /// Every number on one line.
    pub(crate) fn long(&self) -> String {
        let mut text = format!(
            "GET {} lost {}; POST {} lost {} (unclear {}, late {}); twice {}; waits {} ms beyond \
             the next region, {} over the bar; p99 {} ms, of POST {} ms, after {} ms; moves {}, {}",
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
            self.p99_writes.as_millis(),
            self.p99_after.as_millis(),
            self.moves,
            if self.is_back { "back" } else { "not back" },
        );
        if self.downloads > 0 {
            let (all, lost) = (self.downloads, self.downloads_lost);
            let _ = write!(text, "; downloads {all} lost {lost}");
        }
        if let Some(burst) = self.burst {
            let (lost, again) = (burst.lost, burst.again);
            let _ = write!(
                text,
                "; burst lost {lost}, again {again} of {}",
                burst.allowed
            );
        }
        if let Some(after) = self.next_after {
            let _ = write!(text, "; next after {} ms", after.as_millis());
        }
        text
    }

    /// Every number for other programs; times in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        json!({
            "cell": self.short(),
            "meets_bar": self.misses().is_empty(),
            "gets": self.gets,
            "gets_lost": self.gets_lost,
            "downloads": self.downloads,
            "downloads_lost": self.downloads_lost,
            "posts": self.writes,
            "posts_lost": self.writes_lost,
            "posts_lost_unclear": self.writes_unclear,
            "posts_lost_late": self.writes_lost_late,
            "executed_twice": self.executed_twice,
            "extra_wait_ms": millis(self.extra_wait),
            "gets_over_wait_bar": self.waited,
            "p99_ms": millis(self.p99),
            "p99_posts_ms": millis(self.p99_writes),
            "p99_after_ms": millis(self.p99_after),
            "next_region_after_ms": self.next_after.map(millis),
            "burst": self.burst.map(|burst| json!({
                "lost": burst.lost,
                "asked_again": burst.again,
                "budget": burst.allowed,
            })),
            "moves": self.moves,
            "is_back": self.is_back,
        })
    }
}

impl Burst {
    fn of(samples: &[Sample], timing: Timing, ledger: &Ledger) -> Self {
        let until = timing.before + Duration::from_secs(2);
        let from = until.saturating_sub(Duration::from_secs(10));
        let window = samples
            .iter()
            .filter(|one| (from..until).contains(&one.due));
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (share, minimum) = BUDGET;
        let burst = samples.iter().filter(|one| one.kind == Kind::Burst);
        Self {
            lost: burst.filter(|one| one.region.is_none()).count(),
            again: ledger.asked_again().into_iter().max().unwrap_or(0),
            allowed: window.count() / share + minimum * workers,
        }
    }

    fn miss(self) -> Option<String> {
        let (again, allowed) = (self.again, self.allowed);
        (again > allowed).then(|| format!("{again} asked again (budget {allowed})"))
    }
}

/// How long the next region takes.
fn next(fault: Fault) -> Duration {
    let delays = fault.setup.delays();
    delays[fault.whom.regions().min(delays.len() - 1)]
}

/// How long the body of a request takes by itself.
fn takes(sample: &Sample) -> Duration {
    match sample.kind {
        Kind::Download => large::TAKES,
        _ => Duration::ZERO,
    }
}

/// Whether a lost write got a clear answer. A 429 or 503 is the region's own. Of itself Meridian
/// also demands a `Proxy-Status`.
fn is_clear(sample: &Sample, proxy: Proxy) -> bool {
    match sample.status {
        Some((502 | 504, is_explained)) => is_explained || proxy != Proxy::Meridian,
        status => matches!(status, Some((429 | 503, _))),
    }
}

/// 99 of 100 waits are at most this.
fn p99<'a>(samples: impl Iterator<Item = &'a Sample>) -> Duration {
    let mut waits: Vec<_> = samples.map(|sample| sample.wait).collect();
    waits.sort_unstable();
    let at = (waits.len() * 99).div_ceil(100).saturating_sub(1);
    waits.get(at).copied().unwrap_or_default()
}
