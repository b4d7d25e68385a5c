//! HTTP/2 as the simulated regions speak it, without TLS.

use std::io;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;

use crate::endpoint::{Answer, Asked, Content, Endpoint, Reply};
use crate::fault::{Behaviour, GOAWAY_AFTER};

/// What a stream may send before it is asked to wait.
const WINDOW: u32 = 65_535;

/// Answers all requests of a connection.
pub(crate) async fn serve(endpoint: &Endpoint, stream: &mut TcpStream) -> io::Result<()> {
    let mut behaviour = endpoint.behaviour.clone();
    let opened = *behaviour.borrow_and_update();
    let mut connection = h2::server::Builder::new()
        .initial_window_size(window(opened))
        .handshake::<_, Bytes>(stream)
        .await
        .map_err(io::Error::other)?;
    let mut accepted = 0;
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some(request) = request else {
                    return Ok(());
                };
                let (request, respond) = request.map_err(io::Error::other)?;
                accepted += 1;
                tokio::spawn(answer(endpoint.clone(), request, respond));
                if endpoint.now() == Behaviour::GoAway && accepted >= GOAWAY_AFTER {
                    connection.graceful_shutdown();
                }
            }
            changed = behaviour.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let now = *behaviour.borrow_and_update();
                // It fails only while an earlier change is still under way.
                let _ = connection.set_initial_window_size(window(now));
            }
        }
    }
}

fn window(now: Behaviour) -> u32 {
    if now == Behaviour::NoWindow {
        0
    } else {
        WINDOW
    }
}

/// Answers one request. Errors mean that who asked is gone.
async fn answer(
    endpoint: Endpoint,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let (head, mut body) = request.into_parts();
    if endpoint.now() != Behaviour::RefusedStream {
        while let Some(part) = body.data().await {
            let length = part.ok()?.len();
            let _ = body.flow_control().release_capacity(length);
        }
    }
    let asked = Asked::of(head.method.as_str(), head.uri.path(), |name| {
        head.headers.get(name).and_then(|value| value.to_str().ok())
    });
    match endpoint.reply(&asked).await {
        Reply::Reset => respond.send_reset(Reason::INTERNAL_ERROR),
        Reply::Refused => respond.send_reset(Reason::REFUSED_STREAM),
        Reply::Silence(so) => {
            endpoint.changed_from(so).await;
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        Reply::Answer(answer) => send(&endpoint, &mut respond, answer).await?,
    }
    Some(())
}

async fn send(
    endpoint: &Endpoint,
    respond: &mut SendResponse<Bytes>,
    answer: Answer,
) -> Option<()> {
    let mut head = Response::builder().status(answer.status);
    for (name, value) in &answer.fields {
        head = head.header(*name, value);
    }
    let head = head.header("content-length", answer.length);
    let mut stream: SendStream<Bytes> = respond.send_response(head.body(()).ok()?, false).ok()?;
    match answer.content {
        Content::Whole(bytes) => stream.send_data(bytes.into(), true).ok()?,
        Content::Cut(bytes, so) => {
            stream.send_data(bytes.into(), false).ok()?;
            endpoint.changed_from(so).await;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        // No row downloads by HTTP/2.
        Content::Large(_) => stream.send_reset(Reason::INTERNAL_ERROR),
    }
    Some(())
}
