//! The viewers: one request after the other over connections that are kept.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::cli::demo::watch::tally::Sample;
use crate::cli::demo::watch::traffic::DemoTraffic;

/// When a viewer gives an answer up, counted from when the request was due.
const TIMEOUT: Duration = Duration::from_secs(12);
/// What a POST carries.
const WRITE: &[u8] = b"sixteen bytes...";
/// Longer texts of the proxy about a loss are shortened.
const LONGEST_REASON: usize = 160;

type ViewerSender = SendRequest<Full<Bytes>>;

/// Everything but the requests' times.
#[derive(Debug)]
pub(super) struct SimulatedViewers {
    proxy: SocketAddr,
    pub(super) traffic: DemoTraffic,
    /// Connections that wait for a request; there are as many as requests were ever under way.
    idle: Mutex<Vec<ViewerSender>>,
}

impl SimulatedViewers {
    pub(super) fn new(proxy: SocketAddr, traffic: DemoTraffic) -> Self {
        Self {
            proxy,
            traffic,
            idle: Mutex::default(),
        }
    }

    /// Sends the request of this number, due then, and waits for the last byte of its answer.
    pub(super) async fn ask(&self, number: u64, due: Instant) -> Sample {
        let exchange = timeout_at(due + TIMEOUT, self.exchange(number));
        let outcome = exchange.await.unwrap_or_else(|_| {
            let timeout = TIMEOUT.as_secs();
            Err(format!("no whole answer within {timeout} s"))
        });
        Sample {
            is_write: self.traffic.is_write(number),
            wait: due.elapsed(),
            outcome,
        }
    }

    async fn exchange(&self, number: u64) -> Result<String, String> {
        let (mut sender, response) = self.response(self.request(number)?).await?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| format!("{} with a broken body", head.status.as_u16()))?;
        }
        if sender.ready().await.is_ok() {
            self.kept().push(sender);
        }
        if !self.traffic.is_served(head.status) {
            return Err(reason(head.status, head.headers.get("proxy-status")));
        }
        let region = head.headers.get("x-demo-region");
        let region = region.and_then(|region| region.to_str().ok());
        Ok(region.unwrap_or("unnamed").to_owned())
    }

    /// The head of an answer, over a kept connection if one still takes the request.
    async fn response(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(ViewerSender, Response<Incoming>), String> {
        loop {
            let idle = self.kept().pop();
            let is_fresh = idle.is_none();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                // It was closed while it waited, and the request never left.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_fresh => request = unsent,
                    _ => return Err(format!("no answer: {}", error.error())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<ViewerSender, String> {
        let stream = TcpStream::connect(self.proxy).await;
        let stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
        // Without it a wait is a little longer, nothing else.
        let _ = stream.set_nodelay(true);
        let made = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| format!("cannot connect: {error}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, number: u64) -> Result<Request<Full<Bytes>>, String> {
        let (method, body) = if self.traffic.is_write(number) {
            (Method::POST, Bytes::from_static(WRITE))
        } else {
            (Method::GET, Bytes::new())
        };
        let mut request = Request::builder()
            .method(method)
            .uri(self.traffic.path(number))
            .header(header::HOST, self.proxy.to_string())
            .header("x-forwarded-for", self.traffic.viewer(number).to_string());
        if let Some(country) = self.traffic.country() {
            let name = HeaderName::from_static("cloudfront-viewer-country");
            request = request.header(name, country);
        }
        request
            .body(Full::new(body))
            .map_err(|error| error.to_string())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<ViewerSender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The status, and the proxy's own words where there are any.
fn reason(status: StatusCode, explained: Option<&HeaderValue>) -> String {
    let code = status.as_u16();
    let explained = explained.and_then(|field| field.to_str().ok());
    match explained {
        Some(text) => format!(
            "{code} {}",
            text.chars().take(LONGEST_REASON).collect::<String>()
        ),
        None => format!("{code} of the region's own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_in_the_proxys_words_where_it_has_any() {
        let field = HeaderValue::from_static("meridian;error=connection_refused");
        assert_eq!(
            reason(StatusCode::BAD_GATEWAY, Some(&field)),
            "502 meridian;error=connection_refused"
        );
        let own = reason(StatusCode::SERVICE_UNAVAILABLE, None);
        assert_eq!(own, "503 of the region's own");
    }
}
