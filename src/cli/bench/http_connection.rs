//! Connections that are kept, and opened again when they close.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderName, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;

use crate::cli::bench::dialer::Dialer;
use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::load_connection::LoadConnection;
use crate::cli::bench::tally::LoadAnswer;
use crate::cli::bench::template::Template;
use crate::executor::LocalExecutor;

/// Flow-control windows: large answers should wait for the server, not for us.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;

/// What all connections of a worker share.
#[derive(Debug)]
pub(super) struct ConnectionSetup {
    pub(super) dialer: Dialer,
    pub(super) template: Template,
    /// The field in which an answer says which region gave it.
    pub(super) region: HeaderName,
}

/// A place for one request at a time.
#[derive(Debug)]
pub(super) enum HttpConnection {
    /// A connection of its own.
    Http1(Rc<ConnectionSetup>, Option<http1::SendRequest<Full<Bytes>>>),
    /// A stream of a connection that others use too.
    Http2(Rc<ConnectionSetup>, Rc<SharedHttp2>),
}

impl LoadConnection for HttpConnection {
    async fn open(&mut self) -> Result<(), RequestFault> {
        match self {
            Self::Http1(shared, kept) => *kept = Some(open_http1(shared).await?),
            Self::Http2(shared, connection) => drop(connection.sender(shared).await?),
        }
        Ok(())
    }

    async fn exchange(&mut self, country: Option<usize>) -> Result<LoadAnswer, RequestFault> {
        match self {
            Self::Http1(shared, kept) => exchange_http1(shared, kept, country).await,
            Self::Http2(shared, connection) => connection.exchange(shared, country).await,
        }
    }
}

/// While a request is under way its connection is kept nowhere, so one that is given up takes its
/// connection with it.
async fn exchange_http1(
    shared: &ConnectionSetup,
    kept: &mut Option<http1::SendRequest<Full<Bytes>>>,
    country: Option<usize>,
) -> Result<LoadAnswer, RequestFault> {
    let mut request = shared.template.request(country);
    loop {
        let (mut sender, is_fresh) = match kept.take() {
            Some(sender) => (sender, false),
            None => (open_http1(shared).await?, true),
        };
        if sender.ready().await.is_err() && !is_fresh {
            continue;
        }
        match sender.try_send_request(request).await {
            Ok(response) => {
                let answer = read(response, &shared.region).await?;
                *kept = Some(sender);
                return Ok(answer);
            }
            // It was closed while it was idle, and the request never left.
            Err(mut error) => match error.take_message() {
                Some(unsent) if !is_fresh => request = unsent,
                _ => return Err(RequestFault::of_exchange(error.error())),
            },
        }
    }
}

async fn open_http1(
    shared: &ConnectionSetup,
) -> Result<http1::SendRequest<Full<Bytes>>, RequestFault> {
    let stream = shared.dialer.dial().await?;
    let made = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = made.map_err(|error| RequestFault::of_exchange(&error))?;
    tokio::task::spawn_local(async move {
        // How a connection ended is told to the request that was on it.
        let _ = connection.await;
    });
    Ok(sender)
}

/// A connection of HTTP/2, for the streams that share it.
#[derive(Debug, Default)]
pub(super) struct SharedHttp2 {
    kept: Mutex<Option<http2::SendRequest<Full<Bytes>>>>,
}

impl SharedHttp2 {
    async fn exchange(
        &self,
        shared: &ConnectionSetup,
        country: Option<usize>,
    ) -> Result<LoadAnswer, RequestFault> {
        let mut request = shared.template.request(country);
        let mut is_first = true;
        loop {
            let mut sender = self.sender(shared).await?;
            match sender.try_send_request(request).await {
                Ok(response) => return read(response, &shared.region).await,
                // The connection ended before it took the request.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if is_first => request = unsent,
                    _ => return Err(RequestFault::of_exchange(error.error())),
                },
            }
            is_first = false;
        }
    }

    /// The connection that is open, or a fresh one: the first stream to miss it opens it, the
    /// others wait for that.
    async fn sender(
        &self,
        shared: &ConnectionSetup,
    ) -> Result<http2::SendRequest<Full<Bytes>>, RequestFault> {
        let mut kept = self.kept.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let stream = shared.dialer.dial().await?;
        let made = http2::Builder::new(LocalExecutor)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = made.map_err(|error| RequestFault::of_exchange(&error))?;
        tokio::task::spawn_local(async move {
            let _ = connection.await;
        });
        Ok(kept.insert(sender).clone())
    }
}

/// Reads an answer to its end.
async fn read(
    response: Response<Incoming>,
    region: &HeaderName,
) -> Result<LoadAnswer, RequestFault> {
    let (mut head, mut body) = response.into_parts();
    let region = head.headers.remove(region);
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| RequestFault::of_exchange(&error))?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let region = region.and_then(|name| name.to_str().map(str::to_owned).ok());
    Ok(LoadAnswer {
        status: head.status,
        bytes,
        region,
    })
}
