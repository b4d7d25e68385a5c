//! An origin that speaks HTTP/2 frame by frame, and breaks off as HTTP/2 servers do.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Connection, SendResponse};
use http::{Method, Request, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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
    /// Keeps it until it does something else.
    Hold,
    /// Refuses the streams that it held, and answers others with its name.
    RefuseHeld,
    /// Sends GOAWAY on connections that it had, as if it had seen no request of theirs, and answers
    /// others with its name.
    GoneAway,
}

/// A `GOAWAY` without an error, of which the last stream is 0 (RFC 9113, section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// A running origin; it ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Http2Origin {
    pub(crate) address: SocketAddr,
    name: &'static str,
    does: Arc<watch::Sender<Http2>>,
    /// Requests that it keeps.
    held: Arc<watch::Sender<usize>>,
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
            does: Arc::new(watch::Sender::new(Http2::Name)),
            held: Arc::default(),
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
        self.does.send_replace(does);
    }

    /// Waits until it keeps so many requests.
    pub(crate) async fn holds(&self, count: usize) {
        let mut held = self.held.subscribe();
        held.wait_for(|held| *held >= count).await.unwrap();
    }

    /// Requests that it answered, probes left out.
    pub(crate) fn answered(&self) -> Vec<(Method, String)> {
        self.answered.lock().unwrap().clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut changes = self.does.subscribe();
        tokio::select! {
            () = self.clone().converse(&mut stream) => {}
            gone = async {
                changes.changed().await?;
                changes.wait_for(|does| matches!(does, Http2::GoneAway)).await.map(|_| ())
            } => {
                gone.unwrap();
                let _ = stream.write_all(&GOAWAY).await;
                let _ = stream.shutdown().await;
                // What is unread would have the connection reset, and the frame lost.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            }
        }
    }

    async fn converse(self, stream: &mut TcpStream) {
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
                *self.does.borrow()
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
            Http2::Hold => {
                let mut changes = self.does.subscribe();
                self.held.send_modify(|held| *held += 1);
                let _ = changes.wait_for(|does| !matches!(does, Http2::Hold)).await;
                let now = *self.does.borrow();
                match now {
                    Http2::RefuseHeld => return respond.send_reset(Reason::REFUSED_STREAM),
                    Http2::GoneAway => return std::future::pending().await,
                    _ => {}
                }
            }
            Http2::Name | Http2::GoAway | Http2::RefuseHeld | Http2::GoneAway => {}
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
