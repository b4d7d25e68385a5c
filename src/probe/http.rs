//! One probe over HTTP: one question, one outcome, on a kept connection where there is one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::probe::assert;
use crate::stream::counted::CountedStream;
use crate::upstream::connect::{DialError, DialTarget, UpstreamStream, dial};
use crate::upstream::read_allowance::ReadAllowance;
use meridian_core::model::outcome::{Phases, ProbeFailure, ProbeOutcome};
use meridian_core::table::origin::ProbeSpec;

/// Bytes of an answer's body that are read; a health answer is a few hundred.
pub const BODY_LIMIT: usize = 64 << 10;

/// Bytes that are read before an answer begins, interim ones and what is read ahead included: hyper
/// reads at most about 400 KiB at once.
pub const HEAD_LIMIT: usize = 1 << 20;

/// Of so many probes one dials, to measure TCP and TLS; the others measure the warm first byte.
const FRESH_EVERY: u32 = 10;

/// What one probe needs to know.
#[derive(Clone, Debug)]
pub struct ProbeQuestion {
    /// Where to dial.
    pub target: DialTarget,
    /// The region's name, which the answer may have to carry.
    pub region: Arc<str>,
    /// `Host` of the request.
    pub authority: String,
    /// What to ask and what a good answer is.
    pub spec: ProbeSpec,
}

/// Probes one endpoint again and again, and keeps one connection to it.
#[derive(Debug, Default)]
pub struct ProbeClient {
    kept: Option<Kept>,
    uses: u32,
}

/// A connection between probes, and whom it was made for.
#[derive(Debug)]
struct Kept {
    connection: ProbeConnection,
    target: DialTarget,
}

impl ProbeClient {
    /// Asks once, within `question.spec.timeout` in all.
    ///
    /// A kept connection that the peer has closed in the meantime is no failure: peers close idle
    /// connections as they like, so another one is dialled.
    /// No outcome where this machine has no socket left to ask with: that says nothing of the
    /// endpoint.
    pub async fn probe(&mut self, question: &ProbeQuestion) -> Option<ProbeOutcome> {
        let limit = question.spec.timeout;
        // The connection is out of `self` while the exchange runs: one that ends badly, or in a
        // time-out, takes its connection with it.
        match timeout(limit, self.exchange(question)).await {
            Err(_) => Some(ProbeOutcome::Failed(ProbeFailure::Timeout { limit })),
            Ok(Err(Unasked::OurOwn)) => None,
            Ok(Err(Unasked::Failed(failure))) => Some(ProbeOutcome::Failed(failure)),
            Ok(Ok((phases, warm))) => Some(ProbeOutcome::Passed { phases, warm }),
        }
    }

    async fn exchange(&mut self, question: &ProbeQuestion) -> Result<(Phases, bool), Unasked> {
        if let Some(mut kept) = self.kept.take()
            && self.uses < FRESH_EVERY
            && same_peer(&kept.target, &question.target)
            && let Ok((response, first_byte)) = kept.connection.ask(question).await
        {
            let phases = Phases {
                first_byte: Some(first_byte),
                ..Phases::default()
            };
            self.judge(question, kept.connection, response).await?;
            return Ok((phases, true));
        }
        self.uses = 0;
        let (mut connection, mut phases) = ProbeConnection::dial(question).await?;
        let (response, first_byte) = connection.ask(question).await.map_err(broken)?;
        phases.first_byte = Some(first_byte);
        self.judge(question, connection, response).await?;
        Ok((phases, false))
    }

    /// Reads the body, checks the answer and keeps the connection if it can be used again.
    async fn judge(
        &mut self,
        question: &ProbeQuestion,
        connection: ProbeConnection,
        response: Response<Incoming>,
    ) -> Result<(), ProbeFailure> {
        let (head, mut body) = response.into_parts();
        let mut text = Vec::new();
        let mut whole = true;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(broken)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            if text.len() + data.len() > BODY_LIMIT {
                whole = false;
                break;
            }
            text.extend_from_slice(data);
        }
        if !whole && assert::reads_body(&question.spec) {
            let reason = format!("the body is longer than {BODY_LIMIT} bytes");
            return Err(ProbeFailure::Protocol(reason));
        }
        assert::check(
            &question.spec,
            &question.region,
            head.status.as_u16(),
            &text,
        )?;
        self.uses += 1;
        // A body that was not read to its end blocks the connection.
        self.kept = whole.then(|| Kept {
            connection,
            target: question.target.clone(),
        });
        Ok(())
    }
}

/// Whether a connection made for `old` is one that `new` would make: a reload may bring another
/// certificate authority.
fn same_peer(old: &DialTarget, new: &DialTarget) -> bool {
    let same_tls = match (&old.tls, &new.tls) {
        (None, None) => true,
        (Some((old, old_name)), Some((new, new_name))) => {
            Arc::ptr_eq(old, new) && old_name == new_name
        }
        _ => false,
    };
    old.address == new.address && same_tls
}

/// An HTTP connection and the task that drives it.
#[derive(Debug)]
struct ProbeConnection {
    sender: ProbeSender,
    driver: AbortHandle,
}

#[derive(Debug)]
enum ProbeSender {
    Http1(http1::SendRequest<Empty<Bytes>>, ReadAllowance),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Drop for ProbeConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl ProbeConnection {
    async fn dial(question: &ProbeQuestion) -> Result<(Self, Phases), Unasked> {
        let dialed = dial(&question.target, question.spec.timeout)
            .await
            .map_err(undialled)?;
        let connection = Self::over(dialed.stream, dialed.http2)
            .await
            .map_err(broken)?;
        Ok((connection, dialed.phases))
    }

    async fn over(stream: UpstreamStream, http2: bool) -> hyper::Result<Self> {
        let meter = ReadAllowance::default();
        let io = TokioIo::new(CountedStream::new(stream, meter.clone()));
        if http2 {
            let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await?;
            let driver = tokio::spawn(async move {
                // The exchange itself reports what broke.
                let _ = driver.await;
            });
            return Ok(Self {
                sender: ProbeSender::Http2(sender),
                driver: driver.abort_handle(),
            });
        }
        let (sender, driver) = http1::handshake(io).await?;
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Self {
            sender: ProbeSender::Http1(sender, meter),
            driver: driver.abort_handle(),
        })
    }

    /// Sends the question; gives the response's head and how long it took to come.
    async fn ask(
        &mut self,
        question: &ProbeQuestion,
    ) -> Result<(Response<Incoming>, Duration), ProbeExchangeError> {
        let request = self.request(question)?;
        let started = Instant::now();
        let response = match &mut self.sender {
            ProbeSender::Http1(sender, meter) => {
                sender.ready().await?;
                meter.allow(HEAD_LIMIT);
                let response = sender.send_request(request).await?;
                meter.answered();
                response
            }
            ProbeSender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        Ok((response, started.elapsed()))
    }

    fn request(&self, question: &ProbeQuestion) -> http::Result<Request<Empty<Bytes>>> {
        let agent = concat!("meridian-probe/", env!("CARGO_PKG_VERSION"));
        let request = Request::get(&question.spec.path).header(header::USER_AGENT, agent);
        let request = match &self.sender {
            ProbeSender::Http1(..) => request.header(header::HOST, &question.authority),
            ProbeSender::Http2(_) => {
                let scheme = match question.target.tls {
                    Some(_) => "https",
                    None => "http",
                };
                let uri = Uri::builder()
                    .scheme(scheme)
                    .authority(question.authority.as_str())
                    .path_and_query(question.spec.path.as_str())
                    .build()?;
                request.uri(uri)
            }
        };
        request.body(Empty::new())
    }
}

/// Why a probe did not pass.
#[derive(Debug)]
enum Unasked {
    /// This machine is at fault.
    OurOwn,
    /// The endpoint, or the way to it.
    Failed(ProbeFailure),
}

impl From<ProbeFailure> for Unasked {
    fn from(failure: ProbeFailure) -> Self {
        Self::Failed(failure)
    }
}

/// Why an exchange on a connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum ProbeExchangeError {
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("the probe cannot be asked: {0}")]
    Request(#[from] http::Error),
}

fn broken(error: impl Into<ProbeExchangeError>) -> ProbeFailure {
    let error = error.into();
    let mut text = error.to_string();
    if let ProbeExchangeError::Http(error) = &error
        && let Some(cause) = std::error::Error::source(error)
    {
        text = format!("{text}: {cause}");
    }
    ProbeFailure::Protocol(text)
}

fn undialled(error: DialError) -> Unasked {
    if error.is_our_own() {
        return Unasked::OurOwn;
    }
    Unasked::Failed(match error {
        DialError::Refused => ProbeFailure::Refused,
        DialError::ConnectTimeout(limit) | DialError::TlsTimeout(limit) => {
            ProbeFailure::Timeout { limit }
        }
        DialError::Connect(error) => ProbeFailure::Connect(error.to_string()),
        DialError::Tls(error) => ProbeFailure::Tls(error.to_string()),
        error @ (DialError::ServerName(_) | DialError::NoTls) => {
            ProbeFailure::Tls(error.to_string())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_sockets_of_our_own_is_no_outcome() {
        let wants = DialError::Connect(std::io::ErrorKind::AddrNotAvailable.into());
        assert!(matches!(undialled(wants), Unasked::OurOwn));
        let refused = undialled(DialError::Refused);
        assert!(matches!(refused, Unasked::Failed(ProbeFailure::Refused)));
    }
}
