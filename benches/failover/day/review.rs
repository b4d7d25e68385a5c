//! What a day was like for its viewers, in numbers, and whether that is what was promised.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::day::load::{Call, p99};
use crate::day::{Day, Home, HomeShare, NOISE, seconds};
use crate::ledger::Ledger;
use crate::proxy::Proxy;

/// How long after something happened a POST may be refused, where it may.
const GRACE: Duration = Duration::from_secs(1);

/// One cell of the table.
#[derive(Clone, Debug)]
pub(crate) struct Review {
    gets: usize,
    gets_lost: usize,
    posts: usize,
    posts_lost: usize,
    /// Lost where none may be, or without a clear answer.
    posts_wronged: usize,
    executed_twice: usize,
    /// The longest that a GET took beyond what it takes by itself.
    wait: Duration,
    /// GETs that took longer than promised.
    waited: usize,
    /// The same of 99 in 100.
    p99: Duration,
    /// The same of the preferred region by itself.
    own: Duration,
    /// GETs that another region served without the home region being asked.
    strangers: f64,
    /// The share of each span that is promised.
    home: Vec<f64>,
    rise: f64,
    misses: Vec<String>,
}

impl Review {
    /// Judges what became of the calls. `own` is how much longer than usual the preferred region took
    /// by itself, for 99 in 100.
    pub(crate) fn of(
        day: &Day,
        proxy: Proxy,
        (calls, own): (&[Call], Duration),
        ledger: &Ledger,
    ) -> Self {
        let judged: Vec<_> = calls.iter().filter(|call| !call.is_aborted).collect();
        let is_post = |call: &&&Call| day.callers[call.callers].is_post;
        let gets: Vec<_> = judged
            .iter()
            .filter(|call| !is_post(call))
            .copied()
            .collect();
        let posts: Vec<_> = judged.iter().filter(is_post).copied().collect();
        let is_lost = |call: &&&Call| call.region.is_none();
        let outage = day.promise.outage.clone();
        let is_outage = |call: &Call| outage.as_ref().is_some_and(|span| span.contains(&call.due));
        let timed = || gets.iter().filter(|call| !is_outage(call));
        let excess = |call: &Call| excess(day, call);
        let (waits_from, bound) = match day.promise.wait {
            Some((from, wait)) => (from, wait + NOISE),
            None => (Duration::ZERO, Duration::MAX),
        };
        let waits = || timed().filter(|call| call.due >= waits_from);
        let from = day.promise.p99.map_or(Duration::ZERO, |(from, _)| from);
        let staying = stays(day, &judged);
        let mut review = Self {
            gets: gets.len(),
            gets_lost: timed().filter(is_lost).count(),
            posts: posts.len(),
            posts_lost: posts.iter().filter(is_lost).count(),
            posts_wronged: posts
                .iter()
                .filter(is_lost)
                .filter(|call| !may_refuse(day, proxy, call) && !is_outage(call))
                .count(),
            executed_twice: ledger.executed_twice(),
            wait: waits().map(|call| excess(call)).max().unwrap_or_default(),
            waited: waits().filter(|call| excess(call) > bound).count(),
            p99: p99(timed()
                .filter(|call| call.due >= from)
                .map(|call| excess(call))),
            own,
            strangers: 1.0 - share(&staying, |call| is_at_home(day, call, ledger)),
            home: day
                .promise
                .home
                .iter()
                .map(|home| measure(day, home, &staying, ledger))
                .collect(),
            rise: rise(day, &staying),
            misses: Vec::new(),
        };
        review.misses = review.missed(day);
        review
    }

    /// Why the promise is broken, in few words.
    fn missed(&self, day: &Day) -> Vec<String> {
        let promise = &day.promise;
        let count = |number: usize, what: &str| (number > 0).then(|| format!("{number} {what}"));
        let mut misses: Vec<_> = [
            count(self.gets_lost, "GET lost"),
            count(self.posts_wronged, "POST lost"),
            count(self.executed_twice, "twice"),
            (self.waited > 0).then(|| format!("waits {} ({})", seconds(self.wait), self.waited)),
            promise
                .p99
                .filter(|(_, bar)| self.p99 > self.own.max(*bar) + NOISE)
                .map(|_| format!("p99 +{}", seconds(self.p99))),
            promise
                .rise
                .filter(|bar| self.rise > *bar)
                .map(|_| format!("rises {:.0} points", self.rise * 100.0)),
        ]
        .into_iter()
        .flatten()
        .collect();
        for (home, share) in promise.home.iter().zip(&self.home) {
            let is_met = match home.share {
                HomeShare::AtLeast(bar) => *share >= bar,
                HomeShare::AtMost(bar) => *share <= bar,
            };
            if !is_met {
                let (from, until) = (home.span.start.as_secs_f64(), home.span.end.as_secs_f64());
                misses.push(format!("{:.0} % home {from}-{until} s", share * 100.0));
            }
        }
        misses
    }

    /// Whether all is as promised.
    pub(crate) fn is_kept(&self) -> bool {
        self.misses.is_empty()
    }

    /// The cell as the table shows it.
    pub(crate) fn short(&self) -> String {
        match (self.misses.is_empty(), self.posts_lost) {
            (false, _) => format!("MISSED: {}", self.misses.join(", ")),
            (true, 0) => "ok".to_owned(),
            (true, lost) => format!("ok ({lost} POST refused)"),
        }
    }

    /// Every number on one line.
    pub(crate) fn long(&self) -> String {
        let mut text = format!(
            "GET {} lost {}; POST {} lost {} ({} wrongly); twice {}; waits {} ms beyond its own, {} \
             over the bar; p99 {} ms, near itself {} ms; {:.1} % elsewhere unasked; rises {:.0} points; home",
            self.gets,
            self.gets_lost,
            self.posts,
            self.posts_lost,
            self.posts_wronged,
            self.executed_twice,
            self.wait.as_millis(),
            self.waited,
            self.p99.as_millis(),
            self.own.as_millis(),
            self.strangers * 100.0,
            self.rise * 100.0,
        );
        for share in &self.home {
            let _ = write!(text, " {:.1} %", share * 100.0);
        }
        text
    }

    /// Every number for other programs; times in milliseconds, shares from 0 to 1.
    pub(crate) fn json(&self) -> Value {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        json!({
            "cell": self.short(),
            "meets_bar": self.misses.is_empty(),
            "gets": self.gets,
            "gets_lost": self.gets_lost,
            "posts": self.posts,
            "posts_lost": self.posts_lost,
            "posts_lost_wrongly": self.posts_wronged,
            "executed_twice": self.executed_twice,
            "extra_wait_ms": millis(self.wait),
            "gets_over_wait_bar": self.waited,
            "extra_p99_ms": millis(self.p99),
            "own_p99_ms": millis(self.own),
            "elsewhere_unasked": self.strangers,
            "home": self.home,
            "rise": self.rise,
        })
    }
}

/// How much longer a call took than it does by itself.
fn excess(day: &Day, call: &Call) -> Duration {
    let callers = &day.callers[call.callers];
    let home = day.topology.delay(callers.home);
    call.wait.saturating_sub(callers.takes + home)
}

/// Calls of those whose home region is well for them.
fn stays<'a>(day: &Day, calls: &[&'a Call]) -> Vec<&'a Call> {
    let stay = calls.iter().filter(|call| day.callers[call.callers].stays);
    stay.copied().collect()
}

/// Whether the home region served the call or was asked.
fn is_at_home(day: &Day, call: &Call, ledger: &Ledger) -> bool {
    let home = day.callers[call.callers].home;
    call.region == Some(home) || ledger.way(call.id)[home] > 0
}

fn is_served_at_home(day: &Day, call: &Call) -> bool {
    call.region == Some(day.callers[call.callers].home)
}

fn share(calls: &[&Call], is_so: impl Fn(&Call) -> bool) -> f64 {
    let count = calls.iter().filter(|call| is_so(call)).count();
    ratio(count, calls.len())
}

fn ratio(part: usize, all: usize) -> f64 {
    let float = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if all == 0 {
        0.0
    } else {
        float(part) / float(all)
    }
}

/// The share that a promise is about.
fn measure(day: &Day, home: &Home, calls: &[&Call], ledger: &Ledger) -> f64 {
    let within = calls.iter().filter(|call| home.span.contains(&call.due));
    let within: Vec<_> = within.copied().collect();
    match home.share {
        HomeShare::AtLeast(_) => share(&within, |call| is_at_home(day, call, ledger)),
        HomeShare::AtMost(_) => share(&within, |call| is_served_at_home(day, call)),
    }
}

/// How far the share that the home region serves rose at most in two seconds.
fn rise(day: &Day, calls: &[&Call]) -> f64 {
    let mut seconds: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
    for call in calls {
        let (home, all) = seconds.entry(call.due.as_secs()).or_default();
        *home += usize::from(is_served_at_home(day, call));
        *all += 1;
    }
    let shares: Vec<_> = seconds
        .values()
        .map(|(home, all)| ratio(*home, *all))
        .collect();
    // Between two whole seconds: what happens in the middle of one shows in full.
    let rises = shares.windows(3).map(|three| three[2] - three[0]);
    rises.fold(0.0, f64::max)
}

/// Whether a POST may have been lost: something had just happened, and the answer is clear. Of
/// itself Meridian also demands a `Proxy-Status`, unless the answer is the region's own.
fn may_refuse(day: &Day, proxy: Proxy, call: &Call) -> bool {
    let end = call.due + call.wait;
    let is_near = |at: Duration| at <= end && call.due < at + GRACE;
    let is_clear = match call.status {
        Some((502 | 504, is_explained)) => is_explained || proxy != Proxy::Meridian,
        status => matches!(status, Some((429 | 503, _))),
    };
    day.promise.may_refuse && is_clear && day.steps.iter().any(|step| is_near(step.at))
}
