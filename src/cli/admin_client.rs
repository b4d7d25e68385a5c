//! One HTTP request to a process of this machine: the admin endpoint, or a demo's control.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::cli::failure::Failure;

/// No answer of these endpoints is longer; a longer one is not ours.
const LONGEST_ANSWER: usize = 64 << 20;

/// An endpoint: `http://HOST:PORT`, and the token it wants.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct AdminTarget {
    authority: String,
    token: Option<String>,
}

impl AdminTarget {
    /// The endpoint that listens at `address`; `None` if its port is left to the system.
    pub(crate) fn of_listener(address: SocketAddr) -> Option<Self> {
        (address.port() != 0).then(|| Self {
            authority: asked_address(address).to_string(),
            token: None,
        })
    }

    /// The same endpoint, with a token to show.
    pub(crate) fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }
}

/// Where a client on this machine reaches a listener: over loopback one that listens everywhere.
pub(crate) fn asked_address(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(match listener.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listener
}

impl fmt::Display for AdminTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl fmt::Debug for AdminTarget {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AdminTarget {
    type Err = String;

    /// Reads `http://HOST:PORT`; the scheme may be left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not an address such as http://127.0.0.1:9901");
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let uri: Uri = format!("http://{rest}/").parse().map_err(|_| expected())?;
        let authority = uri.authority().filter(|_| uri.path() == "/");
        match authority.map(|authority| (authority.host(), authority.port_u16())) {
            Some((host, Some(_))) if !host.is_empty() && !rest.contains('@') => Ok(Self {
                authority: rest.to_owned(),
                token: None,
            }),
            _ => Err(expected()),
        }
    }
}

impl AdminTarget {
    /// Nobody listens there, or nobody can be reached.
    fn unreachable(&self, error: &io::Error) -> Failure {
        let text = format!("cannot connect to {self}: {error} (is the process running?)");
        Failure::Failed(text)
    }

    /// What came is no HTTP, broke off, or is too long.
    fn unusable(&self, reason: impl fmt::Display) -> Failure {
        Failure::Failed(format!("{self} gave no usable answer: {reason}"))
    }

    /// What came is no answer of ours.
    pub(crate) fn foreign(&self) -> Failure {
        Failure::Failed(format!("{self} answered, but not as Meridian does"))
    }
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) struct AdminAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl AdminAnswer {
    /// The answer unless it is an error; `target` gave it.
    pub(crate) fn success(self, target: &AdminTarget) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }
        let complaint = self.complaint();
        Err(Failure::Failed(format!("{target} refused: {complaint}")))
    }

    /// The body as JSON, or `None` if it is none.
    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// What an error answer says: the problem's detail or title and what is wrong in a
    /// configuration, else its text.
    pub(crate) fn complaint(&self) -> String {
        let json = self.json();
        let field = |path: &str| json.as_ref()?.pointer(path)?.as_str();
        match field("/detail").or_else(|| field("/title")) {
            Some(detail) => match field("/errors/problems") {
                Some(problems) => format!("{detail}\n{}", problems.trim_end()),
                None => detail.to_owned(),
            },
            None => String::from_utf8_lossy(&self.body).trim().to_owned(),
        }
    }
}

/// A request's method, its path with query, and how long the whole answer may take.
#[derive(Clone, Debug)]
pub(crate) struct AdminRequest<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) limit: Duration,
}

/// Asks once, over a connection of its own, and waits for the whole answer.
///
/// # Errors
/// When no whole answer comes in time; an error status is an answer.
pub(crate) fn ask(
    target: &AdminTarget,
    question: &AdminRequest<'_>,
) -> Result<AdminAnswer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| target.unreachable(&error))?;
    let limit = question.limit;
    runtime.block_on(async {
        let exchange = tokio::time::timeout(limit, exchange(target, question));
        exchange.await.unwrap_or_else(|_| {
            let text = format!("{target} did not answer within {limit:?}");
            Err(Failure::Failed(text))
        })
    })
}

async fn exchange(
    target: &AdminTarget,
    question: &AdminRequest<'_>,
) -> Result<AdminAnswer, Failure> {
    let method = question.method.clone();
    let response = send(target, method, question.path, "application/json").await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect();
    Ok(AdminAnswer {
        status,
        body: body
            .await
            .map_err(|error| target.unusable(error))?
            .to_bytes(),
    })
}

/// Asks for what has no end, over a connection of its own; `accept` is the media type wanted.
///
/// # Errors
/// When it is not given.
pub(crate) async fn open(
    target: &AdminTarget,
    path: &str,
    accept: &'static str,
) -> Result<Incoming, Failure> {
    let response = send(target, Method::GET, path, accept).await?;
    match response.status() {
        StatusCode::OK => Ok(response.into_body()),
        other => Err(target.unusable(other)),
    }
}

/// Sends a request and waits for the head of the answer.
async fn send(
    target: &AdminTarget,
    method: Method,
    path: &str,
    accept: &'static str,
) -> Result<Response<Incoming>, Failure> {
    let stream = TcpStream::connect(&target.authority)
        .await
        .map_err(|error| target.unreachable(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| target.unusable(error))?;
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &target.authority)
        .header(header::ACCEPT, accept)
        .header(header::CONNECTION, "close");
    if let Some(token) = &target.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| target.unusable(error))?;
    let response = sender.send_request(request).await;
    response.map_err(|error| target.unusable(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_its_scheme_but_not_its_port() {
        let shown = |text: &str| text.parse::<AdminTarget>().map(|target| target.to_string());
        let plain = Ok("http://127.0.0.1:9901".to_owned());
        assert_eq!(shown("http://127.0.0.1:9901/"), plain);
        assert_eq!(shown("127.0.0.1:9901"), plain);
        assert_eq!(shown("[::1]:9901"), Ok("http://[::1]:9901".to_owned()));
        for wrong in [
            "",
            "localhost",
            "https://localhost:1",
            "http://h:1/x",
            "u@h:1",
            "a b:1",
        ] {
            assert!(shown(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_endpoint_that_listens_everywhere_is_asked_over_loopback() {
        let shown = |address: &str| {
            AdminTarget::of_listener(address.parse().unwrap()).map(|target| target.to_string())
        };
        let local = |text: &str| Some(text.to_owned());
        assert_eq!(shown("0.0.0.0:99"), local("http://127.0.0.1:99"));
        assert_eq!(shown("[::]:99"), local("http://[::1]:99"));
        assert_eq!(shown("10.0.0.1:99"), local("http://10.0.0.1:99"));
        assert_eq!(shown("127.0.0.1:0"), None);
    }

    #[test]
    fn an_error_answer_is_told_by_its_detail() {
        let answer = |body: &'static str| AdminAnswer {
            status: StatusCode::NOT_FOUND,
            body: Bytes::from_static(body.as_bytes()),
        };
        let problem = r#"{"title":"t","detail":"no such region"}"#;
        assert_eq!(answer(problem).complaint(), "no such region");
        assert_eq!(answer("plain words\n").complaint(), "plain words");
        let refused = r#"{"detail":"it was refused","errors":{"problems":"error: x\n\n"}}"#;
        assert_eq!(answer(refused).complaint(), "it was refused\nerror: x");
    }

    #[test]
    fn a_token_is_never_shown() {
        let target: AdminTarget = "127.0.0.1:9901".parse().unwrap();
        let shown = format!("{:?}", target.with_token(Some("secret".to_owned())));
        assert!(!shown.contains("secret"));
    }
}
