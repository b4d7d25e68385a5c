//! The open-loop client: a request every few milliseconds, whether or not the last was answered.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::caller::{Caller, Whole};
use crate::setup::Setup;

/// Requests a second.
pub(crate) const RATE: u32 = 200;
/// Every so many requests one is a write.
const WRITE_EVERY: u32 = 5;
/// When the client gives up on an answer.
const PATIENCE: Duration = Duration::from_secs(12);
/// Where there are downloads, every so many requests one is, and which of them.
const DOWNLOAD_EVERY: u32 = 100;
const DOWNLOAD_AT: u32 = 50;
/// Requests that are sent at once where there is a burst.
pub(crate) const BURST: u32 = 1000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Post,
    /// A GET of the large body.
    Download,
    /// A GET of the burst, which is counted apart.
    Burst,
}

/// What to send, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) proxy: SocketAddr,
    pub(crate) setup: Setup,
    pub(crate) start: Instant,
    /// For how long.
    pub(crate) length: Duration,
    /// When the fault begins, since the start.
    pub(crate) fault: Duration,
}

/// One request and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When it was due, since the start. Waiting for a late start is part of `wait`.
    pub(crate) due: Duration,
    /// From when it was due until its last byte, or until it had failed.
    pub(crate) wait: Duration,
    pub(crate) kind: Kind,
    /// The status and whether the proxy explained itself, when an answer came.
    pub(crate) status: Option<(u16, bool)>,
    /// The region that gave a whole 200.
    pub(crate) region: Option<usize>,
}

/// Sends requests, and waits for all that become of them.
pub(crate) async fn load(load: Load) -> Vec<Sample> {
    let caller = Arc::new(Caller::new(load.proxy, Ipv4Addr::LOCALHOST));
    let mut tasks = JoinSet::new();
    let gap = Duration::from_secs(1) / RATE;
    let mut is_burst_due = load.setup == Setup::Burst;
    for number in 0.. {
        let due = gap * number;
        if due >= load.length {
            break;
        }
        sleep_until(load.start + due).await;
        let mut send = |kind, number| {
            let caller = Arc::clone(&caller);
            tasks.spawn(async move { ask(&caller, (kind, number), load.start, due).await });
        };
        if is_burst_due && due >= load.fault {
            is_burst_due = false;
            (0..BURST).for_each(|number| send(Kind::Burst, number));
        }
        send(kind(load.setup, number), number);
    }
    tasks.join_all().await
}

fn kind(setup: Setup, number: u32) -> Kind {
    if number % WRITE_EVERY == WRITE_EVERY - 1 {
        Kind::Post
    } else if setup == Setup::Downloads && number % DOWNLOAD_EVERY == DOWNLOAD_AT {
        Kind::Download
    } else {
        Kind::Get
    }
}

/// The region that answers now, if the proxy does.
pub(crate) async fn served_by(proxy: SocketAddr) -> Option<usize> {
    let caller = Caller::new(proxy, Ipv4Addr::LOCALHOST);
    let asked = ask(&caller, (Kind::Get, 0), Instant::now(), Duration::ZERO);
    asked.await.region
}

async fn ask(
    caller: &Caller,
    (kind, number): (Kind, u32),
    start: Instant,
    due: Duration,
) -> Sample {
    let request = request(kind, number);
    let heard = timeout_at(start + due + PATIENCE, caller.exchange(&request)).await;
    let heard = heard.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let heard = heard.as_ref().ok();
    Sample {
        due,
        wait: start.elapsed().saturating_sub(due),
        kind,
        status: heard.map(|answer| (answer.status, answer.is_explained)),
        region: heard.and_then(|answer| {
            let expected = if kind == Kind::Download {
                Whole::Large
            } else {
                Whole::Small
            };
            let is_good = answer.whole == Some(expected) && answer.status == 200;
            answer.region.filter(|_| is_good)
        }),
    }
}

fn request(kind: Kind, number: u32) -> String {
    let host = "HTTP/1.1\r\nhost: bench.example\r\n";
    match kind {
        Kind::Get => format!("GET /data {host}\r\n"),
        Kind::Download => format!("GET /large {host}\r\n"),
        Kind::Burst => format!("GET /data {host}x-way-id: {number}\r\n\r\n"),
        Kind::Post => format!(
            "POST /data {host}x-write-id: {number}\r\ncontent-type: text/plain\r\n\
             content-length: 16\r\n\r\nsixteen bytes...",
        ),
    }
}
