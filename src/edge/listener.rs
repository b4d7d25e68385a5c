//! Takes connections from a worker's own socket, within the worker's limit.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::edge::conn::{self, Accepted, ConnectionContext};
use crate::edge::shutdown::ShutdownSignal;
use crate::edge::watched_stream::Active;
use crate::proxy::peer::Peer;
use crate::resources::ListenerResources;

/// After an accept failed for want of descriptors or memory: some connection ends meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Between two log lines on failing accepts.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts from `socket` until the shutdown, then takes what the kernel already accepted and
/// closes it. `listener` gives the listener's present resources for each new connection.
pub async fn accept<H, F, B>(
    socket: TcpListener,
    context: Rc<ConnectionContext<H>>,
    listener: watch::Receiver<Arc<ListenerResources>>,
    shutdown: ShutdownSignal,
) where
    H: Fn(&Peer, Request<Incoming>) -> F + 'static,
    F: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut complaint = None;
    let admit = |stream: TcpStream, tcp: SocketAddr| {
        context.counters.accepted.add(1);
        let listener = Arc::clone(&listener.borrow());
        if context.counters.active.value() >= listener.limits.connections_per_worker as u64 {
            // Closed at once: a viewer that waits in a queue would time out all the same.
            context.counters.refused_at_limit.add(1);
            return;
        }
        let active = Active::new(Arc::clone(&context.counters));
        let accepted = Accepted {
            stream,
            tcp,
            active,
            shutdown: shutdown.clone(),
            listener,
        };
        tokio::task::spawn_local(conn::serve(Rc::clone(&context), accepted));
    };
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok((stream, peer)) => admit(stream, peer),
                Err(error) => {
                    count(&context, &error, &mut complaint);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = shutdown.given() => break,
        }
    }
    // Connections in the queue of a socket that closes would be reset.
    if let Ok(socket) = socket.into_std() {
        while let Ok((stream, peer)) = socket.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                admit(stream, peer);
            }
        }
    }
}

fn count<H>(context: &ConnectionContext<H>, error: &io::Error, complaint: &mut Option<Instant>) {
    // EMFILE and ENFILE (errno 24 and 23 on Linux, BSD and macOS).
    let out_of_descriptors = matches!(error.raw_os_error(), Some(23 | 24));
    if out_of_descriptors {
        context.counters.out_of_descriptors.add(1);
    }
    let now = Instant::now();
    if complaint.is_some_and(|last| now - last < COMPLAINT_INTERVAL) {
        return;
    }
    *complaint = Some(now);
    if out_of_descriptors {
        tracing::error!(
            active = context.counters.active.value(),
            "too few file descriptors: connections wait; raise `ulimit -n` or LimitNOFILE"
        );
    } else {
        tracing::warn!(%error, "a connection could not be accepted");
    }
}
