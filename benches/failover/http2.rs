//! HTTP/2 as the simulated regions speak it, without TLS.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::endpoint::{Answer, Asked, Content, Endpoint, Reply};
use crate::fault::Behaviour;

/// What a stream may send before it is asked to wait.
const WINDOW: u32 = 65_535;

/// A `GOAWAY` without an error, of which the last stream is 0 (RFC 9113, section 6.8).
const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// How long a connection that has gone away still takes in what it will not look at.
const LINGER: Duration = Duration::from_secs(1);

/// Answers all requests of a connection.
pub(crate) async fn serve(endpoint: &Endpoint, stream: &mut TcpStream) -> io::Result<()> {
    if converse(endpoint, stream).await? {
        stream.write_all(&GOAWAY).await?;
        stream.shutdown().await?;
        let mut unread = Vec::new();
        let _ = timeout(LINGER, stream.read_to_end(&mut unread)).await;
    }
    Ok(())
}

/// The same; whether it stopped in order to go away, whatever is under way.
async fn converse(endpoint: &Endpoint, stream: &mut TcpStream) -> io::Result<bool> {
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
                    return Ok(false);
                };
                let (request, respond) = request.map_err(io::Error::other)?;
                accepted += 1;
                tokio::spawn(answer(endpoint.clone(), request, respond));
                if let Behaviour::GoAway(after) = endpoint.now()
                    && accepted >= after
                {
                    connection.graceful_shutdown();
                }
            }
            changed = behaviour.changed() => {
                if changed.is_err() {
                    return Ok(false);
                }
                let now = *behaviour.borrow_and_update();
                match now {
                    Behaviour::Reloaded => connection.graceful_shutdown(),
                    Behaviour::GoneAway => return Ok(true),
                    _ => {}
                }
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
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let asked = Asked::of(head.method.as_str(), path, |name| {
        head.headers.get(name).and_then(|value| value.to_str().ok())
    });
    let reply = tokio::select! {
        reply = endpoint.reply(&asked) => reply,
        () = endpoint.changes_to(Behaviour::RefusedOnce) => Reply::Refused,
    };
    match reply {
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
        Content::Large(..) => stream.send_reset(Reason::INTERNAL_ERROR),
    }
    Some(())
}
