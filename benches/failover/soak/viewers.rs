//! Viewers in three parts of the world, who ask whether they were answered or not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use meridian::demo::download;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::caller::{Caller, Received};
use crate::http1::field;

/// GETs a second of all together.
const RATE: u32 = 100;
/// This one of an episode is a download, a second after it began.
const DOWNLOAD: u32 = RATE;
/// When one gives up, and when on a download.
const PATIENCE: Duration = Duration::from_secs(12);
const DOWNLOAD_PATIENCE: Duration = Duration::from_secs(60);
/// So many there are.
const VIEWERS: u8 = 42;
/// Where they are by turns, and the region that is nearest or preferred there.
const HOMES: [(&str, &str); 3] = [
    ("US", "us-east-1"),
    ("DE", "eu-west-1"),
    ("JP", "ap-southeast-1"),
];

/// The whole download.
static WHOLE_DOWNLOAD: LazyLock<Bytes> = LazyLock::new(|| download::bytes(0, download::LENGTH));

/// All of them; each keeps its connections.
pub(crate) struct Viewers(Vec<Arc<Viewer>>);

struct Viewer {
    caller: Caller,
    country: &'static str,
    home: &'static str,
}

/// One GET and what became of it.
#[derive(Clone, Debug)]
pub(crate) struct SoakCall {
    pub(crate) due: Instant,
    /// From when it was due until its last byte, or until it was lost.
    pub(crate) wait: Duration,
    pub(crate) country: &'static str,
    pub(crate) is_download: bool,
    /// How much later than due it was sent: what this machine adds.
    pub(crate) lateness: Duration,
    /// Whether the home region answered, or why it is lost.
    pub(crate) outcome: Result<bool, Loss>,
}

/// What came in place of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) reason: String,
    /// Whether a region asked to come back later, which must not be tried elsewhere.
    pub(crate) is_put_off: bool,
}

impl From<String> for Loss {
    fn from(reason: String) -> Self {
        Self {
            reason,
            is_put_off: false,
        }
    }
}

impl Viewers {
    /// Those who ask this proxy.
    pub(crate) fn of(proxy: SocketAddr) -> Self {
        // Made before anybody waits for it.
        LazyLock::force(&WHOLE_DOWNLOAD);
        let viewers = (1..=VIEWERS).zip(HOMES.into_iter().cycle());
        let viewers = viewers.map(|(last, (country, home))| {
            let caller = Caller::new(proxy, Ipv4Addr::new(127, 0, 1, last));
            Arc::new(Viewer {
                caller,
                country,
                home,
            })
        });
        Self(viewers.collect())
    }
}

/// Sends what is due in a span, however late the answers are, and waits for all of them.
pub(crate) async fn load(viewers: Arc<Viewers>, start: Instant, length: Duration) -> Vec<SoakCall> {
    let gap = Duration::from_secs(1) / RATE;
    let mut calls = JoinSet::new();
    let due = (0..)
        .map(|turn| (turn, gap * turn))
        .take_while(|(_, due)| *due < length);
    for ((turn, due), viewer) in due.zip(viewers.0.iter().cycle()) {
        sleep_until(start + due).await;
        let viewer = Arc::clone(viewer);
        calls.spawn(async move { viewer.call(start + due, turn == DOWNLOAD).await });
    }
    let mut calls = calls.join_all().await;
    calls.sort_by_key(|call| call.due);
    calls
}

impl Viewer {
    async fn call(&self, due: Instant, is_download: bool) -> SoakCall {
        let lateness = due.elapsed();
        let (path, patience) = match is_download {
            true => (download::PATH, DOWNLOAD_PATIENCE),
            false => ("/", PATIENCE),
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: demo\r\ncloudfront-viewer-country: {}\r\n\r\n",
            self.country
        );
        let received = timeout_at(due + patience, self.caller.receive(&request)).await;
        let outcome = match received {
            Err(_) => Err(format!("no whole answer within {patience:?}").into()),
            Ok(Err(error)) => Err(format!("no answer: {error}").into()),
            Ok(Ok(received)) => self.judge(&received, is_download),
        };
        SoakCall {
            due,
            wait: due.elapsed(),
            country: self.country,
            is_download,
            lateness,
            outcome,
        }
    }

    fn judge(&self, received: &Received, is_download: bool) -> Result<bool, Loss> {
        let status = received.status().unwrap_or_default();
        if status != 200 {
            let explained = field(&received.head, "proxy-status");
            let reason = explained.unwrap_or("of the region's own");
            return Err(Loss {
                reason: format!("{status} {reason}"),
                is_put_off: explained.is_none() && field(&received.head, "retry-after").is_some(),
            });
        }
        let is_right = !is_download || received.body == *WHOLE_DOWNLOAD;
        if !received.is_whole || !is_right {
            return Err(format!("{} bytes of a broken body", received.body.len()).into());
        }
        Ok(field(&received.head, "x-demo-region") == Some(self.home))
    }
}
