//! Viewers who go on asking while regions fail, and what each of them saw.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::client::{request, send_from};

/// What one request of a viewer came to.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// Who asked.
    pub(crate) viewer: Ipv4Addr,
    /// GET or POST.
    pub(crate) method: &'static str,
    /// Names this request and no other.
    pub(crate) path: String,
    /// The status; `None` where the connection or the body broke.
    pub(crate) status: Option<u16>,
    /// The body: the region's name, as a rule.
    pub(crate) text: String,
    /// What the proxy says of an error of its own.
    pub(crate) proxy_status: String,
    /// When it began.
    pub(crate) started: Instant,
    /// How long it took.
    pub(crate) took: Duration,
}

/// Viewers under way; they stop when dropped.
pub(crate) struct Load {
    over: Arc<AtomicBool>,
    done: watch::Sender<usize>,
    viewers: Vec<JoinHandle<Vec<Visit>>>,
}

/// Every `WRITES`th request of a viewer is a POST.
const WRITES: usize = 5;

/// Between two requests, all viewers together: a fault is to meet viewers who ask, not a full
/// machine.
const PACE: Duration = Duration::from_micros(1500);

impl Load {
    /// Starts `viewers`, each at an address of its own from 127.0.`net`.1 on; a fifth of their
    /// requests are POSTs with a body if `writes`.
    pub(crate) fn start(address: SocketAddr, net: u8, viewers: u8, writes: bool) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let done = watch::Sender::new(0);
        let pace = PACE * u32::from(viewers);
        let viewers = (1..=viewers).map(|viewer| {
            let viewer = Ipv4Addr::new(127, 0, net, viewer);
            let (over, done) = (Arc::clone(&over), done.clone());
            tokio::spawn(async move {
                let mut visits = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let number = visits.len();
                    let writes = writes && number % WRITES == WRITES - 1;
                    let method = if writes { "POST" } else { "GET" };
                    let path = format!("/{viewer}/{number}");
                    visits.push(visit(address, viewer, method, path).await);
                    done.send_modify(|done| *done += 1);
                    tokio::time::sleep(pace).await;
                }
                visits
            })
        });
        Self {
            viewers: viewers.collect(),
            over,
            done,
        }
    }

    /// Waits until the viewers have had so many answers more.
    pub(crate) async fn more(&self, count: usize) {
        let mut done = self.done.subscribe();
        let until = *done.borrow() + count;
        let waiting = done.wait_for(|done| *done >= until);
        let waited = tokio::time::timeout(Duration::from_secs(20), waiting).await;
        waited.expect("viewers get answers").unwrap();
    }

    /// Lets each viewer end its request, and gives all that they saw, in order of their beginning.
    pub(crate) async fn end(mut self) -> Visits {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for viewer in self.viewers.drain(..) {
            all.extend(viewer.await.unwrap());
        }
        all.sort_by_key(|visit| visit.started);
        Visits(all)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

async fn visit(address: SocketAddr, viewer: Ipv4Addr, method: &'static str, path: String) -> Visit {
    let body = if method == "POST" { "order" } else { "" };
    let started = Instant::now();
    let reply = send_from(viewer, address, request(method, &path, &[], body)).await;
    let took = started.elapsed();
    let (status, text, proxy_status) = match reply {
        Ok(reply) => {
            let said = reply.field("proxy-status").to_owned();
            (Some(reply.status), reply.text(), said)
        }
        Err(error) => (None, error.to_string(), String::new()),
    };
    Visit {
        viewer,
        method,
        path,
        status,
        text,
        proxy_status,
        started,
        took,
    }
}

/// What all viewers saw.
#[derive(Debug)]
pub(crate) struct Visits(pub(crate) Vec<Visit>);

impl Visits {
    /// Those that began at `when` or later.
    pub(crate) fn since(&self, when: Instant) -> Self {
        let late = self.0.iter().filter(|visit| visit.started >= when);
        Self(late.cloned().collect())
    }

    /// Every GET was answered, and none later than after `most`.
    pub(crate) fn no_get_was_lost_or_waited(&self, most: Duration) {
        let gets = self.0.iter().filter(|visit| visit.method == "GET");
        for visit in gets {
            assert_eq!(visit.status, Some(200), "{visit:#?}");
            assert!(visit.took < most, "{visit:#?}");
        }
    }

    /// Every request was answered, GET or POST, by one of `regions`.
    pub(crate) fn nobody_noticed(&self, regions: &[&str]) {
        assert!(!self.0.is_empty(), "somebody asked");
        for visit in &self.0 {
            assert_eq!(visit.status, Some(200), "{visit:#?}");
            assert!(regions.contains(&visit.text.as_str()), "{visit:#?}");
        }
    }

    /// The POSTs that were not answered well.
    pub(crate) fn lost_posts(&self) -> Vec<&Visit> {
        let lost = |visit: &&Visit| visit.method == "POST" && visit.status != Some(200);
        self.0.iter().filter(lost).collect()
    }

    /// Every lost POST got the region's own answer, and not more than `most` were lost.
    pub(crate) fn posts_were_refused(&self, most: usize, status: u16, text: &str) {
        let lost = self.lost_posts();
        assert!(lost.len() <= most, "{lost:#?}");
        for visit in lost {
            assert_eq!((visit.status, &*visit.text), (Some(status), text));
        }
    }

    /// Every lost POST got this status and this error, and not more than `most` were lost.
    pub(crate) fn posts_were_lost(&self, most: usize, status: u16, error: &str) {
        let lost = self.lost_posts();
        assert!(lost.len() <= most, "{lost:#?}");
        let said = format!("meridian;error={error};next-hop=\"a\";details=\"not_retryable\"");
        for visit in lost {
            assert_eq!(visit.status, Some(status), "{visit:#?}");
            assert_eq!(visit.proxy_status, said, "{visit:#?}");
        }
    }
}
