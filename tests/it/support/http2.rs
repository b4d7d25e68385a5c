//! An origin that speaks HTTP/2 frame by frame, and breaks off as HTTP/2 servers do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::{Method, Request, Response};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a request; probes are always answered well.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Http2 {
    /// Answers 200 with its name.
    Name,
    /// Resets the stream.
    Reset(Reason),
    /// Answers 200, and then sends GOAWAY: the next request needs another connection.
    GoAway,
    /// Answers nothing, and never lets the peer send more of a body.
    Closed,
}

/// A running origin; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Http2Origin {
    pub(crate) address: SocketAddr,
    name: &'static str,
    does: Arc<Mutex<Http2>>,
    /// Requests that it answered, by method and path.
    answered: Arc<Mutex<Vec<(Method, String)>>>,
}

/// Small enough that a body does not fit.
const WINDOW: u32 = 4;

impl Http2Origin {
    pub(crate) async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Self {
            address: listener.local_addr().unwrap(),
            name,
            does: Arc::new(Mutex::new(Http2::Name)),
            answered: Arc::default(),
        };
        let serving = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        origin
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it does this.
    pub(crate) fn behave(&self, does: Http2) {
        *self.does.lock().unwrap() = does;
    }

    /// Requests that it answered, probes left out.
    pub(crate) fn answered(&self) -> Vec<(Method, String)> {
        self.answered.lock().unwrap().clone()
    }

    async fn serve(self, stream: TcpStream) {
        let mut builder = h2::server::Builder::new();
        builder.initial_window_size(WINDOW);
        let Ok(mut connection): Result<Connection<_, Bytes>, _> = builder.handshake(stream).await
        else {
            return;
        };
        while let Some(Ok((request, respond))) = connection.accept().await {
            let probe = request.uri().path() == "/health";
            let does = if probe {
                Http2::Name
            } else {
                *self.does.lock().unwrap()
            };
            if matches!(does, Http2::GoAway) {
                connection.graceful_shutdown();
            }
            tokio::spawn(self.clone().answer(request, respond, does, probe));
        }
    }

    async fn answer(
        self,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Bytes>,
        does: Http2,
        probe: bool,
    ) {
        let (parts, mut body) = request.into_parts();
        match does {
            Http2::Reset(reason) => return respond.send_reset(reason),
            Http2::Closed => return std::future::pending().await,
            Http2::Name | Http2::GoAway => {}
        }
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
        }
        if !probe {
            let seen = (parts.method, parts.uri.path().to_owned());
            self.answered.lock().unwrap().push(seen);
        }
        if let Ok(mut sending) = respond.send_response(Response::new(()), false) {
            let _ = sending.send_data(Bytes::from_static(self.name.as_bytes()), true);
        }
    }
}
