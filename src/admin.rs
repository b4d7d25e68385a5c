//! Where operators connect: health, metrics, what is believed, and reload.
//!
//! Runs on the control runtime, on a port of its own. Everything it takes is bounded: head and
//! body sizes, time for a head, connections, readers of events.

mod api;
mod context;
pub(crate) mod guard;
pub mod health;
pub(crate) mod query;
pub(crate) mod reply;
mod scrape;
pub mod view;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::admin::api::Endpoint;
pub use crate::admin::context::{
    AdminContext, AdminSources, ConfirmFuture, ExplainQuery, NotConfirmed, ReloadFuture,
};
use crate::admin::reply::Reply;
use meridian_core::config::{AdminConfig, Secret};

/// Connections at once; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 64;
/// For a request's whole head, and between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEAD_BYTES: usize = 16 << 10;
const MAX_HEAD_FIELDS: usize = 64;
/// After an accept failed, which is for want of descriptors most of the time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the admin server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, or not ours.
    #[error("the admin address {address} cannot be bound: {cause}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Anyone who reaches the machine could reload it.
    #[error(
        "the admin address {address} is not a loopback one and needs `admin.token`; \
         or bind 127.0.0.1 instead"
    )]
    TokenMissing {
        /// As configured.
        address: SocketAddr,
    },
}

/// A bound admin server.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<Secret>,
}

impl AdminServer {
    /// Binds the configured address; `None` where none is configured.
    ///
    /// # Errors
    /// When it cannot be bound, or would be open to the network without a token.
    pub async fn bind(config: &AdminConfig) -> Result<Option<Self>, AdminError> {
        let Some(address) = config.address else {
            return Ok(None);
        };
        let token = config.token.clone().filter(|token| !token.0.is_empty());
        if !address.ip().is_loopback() && token.is_none() {
            return Err(AdminError::TokenMissing { address });
        }
        let cannot_bind = |cause| AdminError::Bind { address, cause };
        let listener = TcpListener::bind(address).await.map_err(cannot_bind)?;
        let address = listener.local_addr().map_err(cannot_bind)?;
        // On a loopback address a token is taken if it is sent, but not needed.
        let token = token.filter(|_| !address.ip().is_loopback());
        Ok(Some(Self {
            listener,
            address,
            token,
        }))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is dropped.
    pub async fn serve(self, state: Arc<AdminContext>) -> Infallible {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let gate = Arc::new(Gate {
            address: self.address,
            token: self.token,
            state,
        });
        // Dropping the set ends the connections with the server.
        let mut connections = tokio::task::JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            let slot = Arc::clone(&slots).acquire_owned().await;
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let gate = Arc::clone(&gate);
                    connections.spawn(async move {
                        serve_connection(stream, gate).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, gate: Arc<Gate>) {
    let service = service_fn(move |request| {
        let gate = Arc::clone(&gate);
        async move { Ok::<_, Infallible>(gate.answer(request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEAD_FIELDS)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended");
    }
}

/// Lets requests in, or says why not.
#[derive(Debug)]
struct Gate {
    address: SocketAddr,
    token: Option<Secret>,
    state: Arc<AdminContext>,
}

impl Gate {
    async fn answer(&self, request: Request<Incoming>) -> Reply {
        match self.refusal(&request) {
            Some(refusal) => refusal,
            None => api::answer(&self.state, request).await,
        }
    }

    fn refusal(&self, request: &Request<Incoming>) -> Option<Reply> {
        let headers = request.headers();
        // With a token rebinding is pointless: the page does not have it, and operators reach
        // the server by names we cannot know.
        if self.token.is_none() && !guard::host_is_ours(headers, self.address) {
            return Some(reply::problem(
                StatusCode::MISDIRECTED_REQUEST,
                "the Host field names another server; ask by loopback name or address",
            ));
        }
        if let Some(token) = &self.token {
            // Load balancers cannot send a token with a health check. The short answer says
            // yes or no and little else.
            let open = Endpoint::of(request.uri().path()).is_some_and(Endpoint::is_health)
                && request.uri().query().is_none();
            if !open && !guard::token_matches(headers, token) {
                let detail = "this address takes `Authorization: Bearer` with admin.token";
                let mut refusal = reply::problem(StatusCode::UNAUTHORIZED, detail);
                let challenge = HeaderValue::from_static("Bearer");
                refusal.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                return Some(refusal);
            }
        }
        let safe = matches!(*request.method(), Method::GET | Method::HEAD);
        if !safe && guard::is_cross_site(headers) {
            let detail = "changes are not taken from pages of other sites";
            return Some(reply::problem(StatusCode::FORBIDDEN, detail));
        }
        None
    }
}
