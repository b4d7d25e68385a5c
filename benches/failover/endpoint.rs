//! One endpoint of a simulated region: what it does with connections and requests.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::capacity::Capacity;
use crate::certificates::Certificates;
use crate::fault::Behaviour;
use crate::large;
use crate::ledger::Ledger;
use crate::setup::REGIONS;
use crate::wish::{Wish, around};

/// Bytes in a usual answer.
pub(crate) const BODY: usize = 1024;

/// How an endpoint is spoken to.
#[derive(Clone)]
pub(crate) enum Kind {
    Plain,
    Tls(Certificates),
    Http2,
}

/// An endpoint.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// The number of its region.
    pub(crate) region: usize,
    pub(crate) address: SocketAddr,
    pub(crate) delay: Duration,
    pub(crate) noise: Duration,
    pub(crate) kind: Kind,
    pub(crate) behaviour: watch::Receiver<Behaviour>,
    pub(crate) ledger: Ledger,
    /// Requests so far that were not for health.
    pub(crate) served: Arc<AtomicU64>,
    /// Requests for health so far.
    pub(crate) probed: Arc<AtomicU64>,
    /// What its region can do.
    pub(crate) capacity: Capacity,
}

/// What a request asked for.
pub(crate) struct Asked {
    pub(crate) is_health: bool,
    /// The id of a write.
    pub(crate) write: Option<u64>,
    /// The id of a request whose way is noted.
    pub(crate) way: Option<u64>,
    pub(crate) wish: Wish,
    /// For the large body: the bytes, or all.
    pub(crate) download: Option<Option<Range<usize>>>,
}

impl Asked {
    /// Understands a request; `field` gives the value of a header field.
    pub(crate) fn of<'a>(
        method: &str,
        path: &str,
        field: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Self {
        let number = |name| field(name).and_then(|value| value.parse().ok());
        let is_large = path.split('?').next() == Some("/large");
        Self {
            is_health: path == "/health",
            write: number("x-write-id").filter(|_| method.eq_ignore_ascii_case("POST")),
            way: number("x-way-id"),
            wish: Wish::of(path),
            download: is_large.then(|| large::wanted(field("range"), field("if-range"))),
        }
    }
}

/// What becomes of a request.
pub(crate) enum Reply {
    /// The connection breaks, or the stream.
    Reset,
    /// The stream was not looked at.
    Refused,
    /// Nothing until the region behaves otherwise than so.
    Silence(Behaviour),
    Answer(Answer),
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(&'static str, String)>,
    pub(crate) length: usize,
    pub(crate) content: Content,
}

/// The bytes of an answer.
pub(crate) enum Content {
    Whole(Vec<u8>),
    /// Then silence, until the region behaves otherwise than so.
    Cut(Vec<u8>, Behaviour),
    /// These bytes of the large body, and how long it stands still between parts, if not as usual.
    Large(Range<usize>, Option<Duration>),
}

impl Endpoint {
    /// How the region behaves at this moment.
    pub(crate) fn now(&self) -> Behaviour {
        *self.behaviour.borrow()
    }

    /// Waits until the region behaves otherwise than `so`.
    pub(crate) async fn changed_from(&self, so: Behaviour) {
        let _ = self.behaviour.clone().wait_for(|now| *now != so).await;
    }

    /// Waits until connections opened under `then` are to end as soon as they are idle.
    pub(crate) async fn sends_away(&self, then: Behaviour) {
        let is_over = |now: &Behaviour| {
            *now != then && matches!(now, Behaviour::HandshakeHang | Behaviour::Expired)
        };
        let _ = self.behaviour.clone().wait_for(is_over).await;
    }

    /// Waits until a region that was not so behaves `so`.
    pub(crate) async fn changes_to(&self, so: Behaviour) {
        let mut behaviour = self.behaviour.clone();
        let _ = behaviour.wait_for(|now| *now != so).await;
        let _ = behaviour.wait_for(|now| *now == so).await;
    }

    /// What becomes of a request, as the region behaves when the request is whole.
    pub(crate) async fn reply(&self, asked: &Asked) -> Reply {
        self.changed_from(Behaviour::Paused).await;
        let now = self.now();
        let turn = match now {
            Behaviour::Limited(rate) if !asked.is_health => self.capacity.admit(rate),
            _ => Some(Duration::ZERO),
        };
        let status = match now {
            _ if turn.is_none() => 503,
            Behaviour::Unavailable { health_too } if health_too || !asked.is_health => 503,
            Behaviour::HalfUnavailable
                if !asked.is_health && count(&self.served).is_multiple_of(2) =>
            {
                503
            }
            Behaviour::Overloaded => 503,
            Behaviour::TooMany if !asked.is_health => 429,
            Behaviour::RefusedStream => return Reply::Refused,
            _ => asked.wish.status(self.region),
        };
        if let (Some(id), 200) = (asked.write, status) {
            self.ledger.executed(id);
        }
        if let Some(id) = asked.way {
            self.ledger.reached(id, self.region);
        }
        match now {
            Behaviour::Hang => return Reply::Silence(now),
            Behaviour::HoldBurst if asked.way.is_some() => return Reply::Silence(now),
            Behaviour::LostProbes if asked.is_health && count(&self.probed).is_multiple_of(3) => {
                return Reply::Silence(now);
            }
            Behaviour::Reset => return Reply::Reset,
            _ => sleep(self.delay(now, asked) + turn.unwrap_or_default()).await,
        }
        self.changed_from(Behaviour::Paused).await;
        Reply::Answer(self.answer(asked, now, status))
    }

    fn answer(&self, asked: &Asked, now: Behaviour, status: u16) -> Answer {
        let mut fields = vec![("x-region", self.region.to_string())];
        let is_overloaded = matches!(now, Behaviour::Overloaded | Behaviour::TooMany);
        if is_overloaded || status == 429 {
            fields.push(("retry-after", "5".to_owned()));
        }
        if let (Some(range), 200) = (&asked.download, status) {
            return download(fields, range.as_ref(), asked.wish.pause);
        }
        let bytes = if status != 200 {
            b"unavailable\n".to_vec()
        } else if asked.is_health {
            fields.push(("content-type", "application/json".to_owned()));
            let is_stranger = now == Behaviour::Stranger;
            let region = if is_stranger {
                "next"
            } else {
                REGIONS[self.region]
            };
            format!("{{\"status\":\"ok\",\"region\":\"{region}\"}}").into_bytes()
        } else {
            fields.push(("content-type", "text/plain".to_owned()));
            vec![b'x'; BODY]
        };
        let length = bytes.len();
        let content = match now {
            Behaviour::HalfBody if !asked.is_health => {
                Content::Cut(bytes[..length / 2].to_vec(), now)
            }
            Behaviour::HeadOnly if !asked.is_health => Content::Cut(Vec::new(), now),
            _ => Content::Whole(bytes),
        };
        Answer {
            status,
            fields,
            length,
            content,
        }
    }

    fn delay(&self, now: Behaviour, asked: &Asked) -> Duration {
        let noise = self.noise * 2;
        let usual = self.delay + noise.mul_f64(fastrand::f64()) + asked.wish.later();
        let usual = usual.saturating_sub(self.noise);
        match now {
            Behaviour::Later { probes, .. } if asked.is_health => usual + probes,
            Behaviour::Later { answers, .. } => usual + answers,
            Behaviour::Varying { probes, .. } if asked.is_health => usual + around(probes),
            Behaviour::Varying { answers, .. } => usual + around(answers),
            Behaviour::Cold => usual * 10,
            _ => usual,
        }
    }
}

/// The large body or a part of it.
fn download(
    mut fields: Vec<(&'static str, String)>,
    range: Option<&Range<usize>>,
    pause: Option<Duration>,
) -> Answer {
    fields.push(("content-type", "application/octet-stream".to_owned()));
    fields.push(("etag", large::ETAG.to_owned()));
    fields.push(("accept-ranges", "bytes".to_owned()));
    if let Some(part) = range {
        let (first, last, all) = (part.start, part.end - 1, large::LENGTH);
        fields.push(("content-range", format!("bytes {first}-{last}/{all}")));
    }
    let part = range.cloned().unwrap_or(0..large::LENGTH);
    Answer {
        status: if range.is_some() { 206 } else { 200 },
        fields,
        length: part.len(),
        content: Content::Large(part, pause),
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed)
}
