//! The open-loop load of a day: requests start when they are due, however late others are.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::caller::{Caller, Heard, Whole};
use crate::day::{Callers, Day};

/// When a viewer gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// When one who leaves early does.
const LEAVES: Duration = Duration::from_millis(2);
/// How often a region is asked by itself.
const OWN_EVERY: Duration = Duration::from_millis(25);
/// Between the numbers of two kinds of callers.
const NUMBERS: u64 = 1_000_000;

/// One request and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The kind of its caller.
    pub(crate) callers: usize,
    /// Its own number.
    pub(crate) id: u64,
    /// When it was due, since the start.
    pub(crate) due: Duration,
    /// From when it was due until its last byte, or until it had failed.
    pub(crate) wait: Duration,
    /// The status and whether the proxy explained itself, when an answer came.
    pub(crate) status: Option<(u16, bool)>,
    /// The region that gave the right answer.
    pub(crate) region: Option<usize>,
    /// Whether its viewer left.
    pub(crate) is_aborted: bool,
}

/// Sends all requests of a day, and waits for what becomes of them.
pub(crate) async fn load(day: &Day, proxy: SocketAddr, start: Instant) -> Vec<Call> {
    let mut known = BTreeMap::new();
    let mut kinds = JoinSet::new();
    for (number, callers) in day.callers.iter().enumerate() {
        let who = addresses(callers).into_iter().map(|address| {
            let new = || Arc::new(Caller::new(proxy, address));
            Arc::clone(known.entry(address).or_insert_with(new))
        });
        let (kind, who) = ((number, callers.clone()), who.collect());
        kinds.spawn(send_all(kind, who, start, day.length));
    }
    kinds.join_all().await.concat()
}

/// What 99 of 100 GETs take beyond `usual` that are sent to a region itself meanwhile: the day as it
/// is without a proxy, the noise of the machine included. Those that are lost say nothing.
pub(crate) async fn own_p99(
    region: SocketAddr,
    usual: Duration,
    start: Instant,
    length: Duration,
) -> Duration {
    let who = Arc::new(Caller::new(region, Ipv4Addr::LOCALHOST));
    let mut calls = JoinSet::new();
    let mut due = Duration::ZERO;
    while due < length {
        sleep_until(start + due).await;
        let who = Arc::clone(&who);
        calls.spawn(async move {
            let heard = who.exchange("GET /page/0 HTTP/1.1\r\nhost: bench.example\r\n\r\n");
            let heard = timeout_at(start + due + PATIENCE, heard).await;
            let is_good = matches!(heard, Ok(Ok(Heard { status: 200, .. })));
            is_good.then(|| start.elapsed().saturating_sub(due))
        });
        due += OWN_EVERY;
    }
    let waits = calls.join_all().await.into_iter().flatten();
    p99(waits.map(|wait| wait.saturating_sub(usual)))
}

/// 99 of 100 are at most this.
pub(crate) fn p99(waits: impl Iterator<Item = Duration>) -> Duration {
    let mut waits: Vec<_> = waits.collect();
    waits.sort_unstable();
    let at = (waits.len() * 99).div_ceil(100).saturating_sub(1);
    waits.get(at).copied().unwrap_or_default()
}

/// Where they ask from; those of one address share its connections.
fn addresses(callers: &Callers) -> Vec<Ipv4Addr> {
    let range = callers.addresses.clone();
    if range.is_empty() {
        return vec![Ipv4Addr::LOCALHOST];
    }
    range.map(|last| Ipv4Addr::new(127, 0, 1, last)).collect()
}

async fn send_all(
    (kind, callers): (usize, Callers),
    who: Vec<Arc<Caller>>,
    start: Instant,
    length: Duration,
) -> Vec<Call> {
    let callers = Arc::new(callers);
    let gap = Duration::from_secs(1) * callers.at_once / callers.rate;
    let until = callers.span.end.min(length);
    let mut calls = JoinSet::new();
    for (turn, number) in (0..).zip((0..).step_by(callers.at_once as usize)) {
        let due = callers.span.start + gap * turn;
        if due >= until {
            break;
        }
        sleep_until(start + due).await;
        for number in number..number + u64::from(callers.at_once) {
            let at = usize::try_from(number).unwrap_or(0) % who.len();
            let (who, callers) = (Arc::clone(&who[at]), Arc::clone(&callers));
            calls.spawn(async move { call(&who, (kind, &callers, number), start, due).await });
        }
    }
    calls.join_all().await
}

async fn call(
    who: &Caller,
    (kind, callers, number): (usize, &Callers, u64),
    start: Instant,
    due: Duration,
) -> Call {
    let id = u64::try_from(kind).unwrap_or(0) * NUMBERS + number;
    let request = request(callers, number, id);
    let leaves = callers.aborts_every.map(u64::from);
    let is_aborted = leaves.is_some_and(|every| number % every == every - 1);
    let heard = if is_aborted {
        let _ = timeout(LEAVES, who.exchange(&request)).await;
        None
    } else {
        let heard = timeout_at(start + due + PATIENCE, who.exchange(&request)).await;
        heard.ok().and_then(Result::ok)
    };
    let whole = match (callers.expected, callers.is_large()) {
        (200, true) => Some(Whole::Large),
        (200, false) => Some(Whole::Small),
        _ => None,
    };
    let right = heard.as_ref().filter(|heard| {
        heard.status == callers.expected && (whole.is_none() || heard.whole == whole)
    });
    Call {
        callers: kind,
        id,
        due,
        wait: start.elapsed().saturating_sub(due),
        region: right.and_then(|heard| heard.region),
        status: heard.map(|heard| (heard.status, heard.is_explained)),
        is_aborted,
    }
}

fn request(callers: &Callers, number: u64, id: u64) -> String {
    let path = callers.path.replace('*', &(number % 20).to_string());
    let country = callers.country.map_or_else(String::new, |country| {
        format!("cloudfront-viewer-country: {country}\r\n")
    });
    let head = format!("{path} HTTP/1.1\r\nhost: bench.example\r\nx-way-id: {id}\r\n{country}");
    if callers.is_post {
        format!(
            "POST {head}x-write-id: {id}\r\ncontent-type: text/plain\r\ncontent-length: 16\r\n\r\n\
             sixteen bytes..."
        )
    } else {
        format!("GET {head}\r\n")
    }
}
