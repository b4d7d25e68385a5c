//! The origins: as cheap as can be, since they share a core with the load.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use crate::certificates::Certificates;

/// Bytes of an ordinary answer.
pub(crate) const SMALL: usize = 512;
/// Bytes of a download.
pub(crate) const LARGE: usize = 1024 * 1024;
/// Where the download is.
pub(crate) const LARGE_PATH: &str = "/large";
/// What proxies ask for to learn whether an origin is well; not counted.
pub(crate) const HEALTH_PATH: &str = "/health";
/// What is sent there by HTTP/2 comes back.
pub(crate) const ECHO_PATH: &str = "/echo";
/// Bytes read at once.
const ROOM: usize = 64 * 1024;

/// What the origins speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    Plain,
    Tls,
    Http2,
}

/// Where the origins listen, and what they have served.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    plain: SocketAddr,
    tls: SocketAddr,
    http2: SocketAddr,
    served: Arc<AtomicU64>,
}

impl Origins {
    /// Starts them on a thread of their own, on the cores of the thread that calls.
    pub(crate) fn start(certificates: &Certificates) -> io::Result<Self> {
        let served = Arc::new(AtomicU64::new(0));
        let [plain, tls, http2] = [listen()?, listen()?, listen()?];
        let origins = Self {
            plain: plain.local_addr()?,
            tls: tls.local_addr()?,
            http2: http2.local_addr()?,
            served: Arc::clone(&served),
        };
        let acceptor = certificates.acceptor()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::spawn(move || {
            let answers = Rc::new(Answers::new(served));
            let serving = async {
                let all = (
                    accept(plain, &answers, |answers, stream| async move {
                        answers.http1(stream).await
                    }),
                    accept(tls, &answers, |answers, stream| {
                        let acceptor = acceptor.clone();
                        async move { answers.http1(acceptor.accept(stream).await?).await }
                    }),
                    accept(http2, &answers, |answers, stream| answers.http2(stream)),
                );
                tokio::try_join!(all.0, all.1, all.2)
            };
            runtime.block_on(LocalSet::new().run_until(serving))
        });
        Ok(origins)
    }

    /// Where the proxies go for this speech.
    pub(crate) fn address(&self, speech: Speech) -> SocketAddr {
        match speech {
            Speech::Plain => self.plain,
            Speech::Tls => self.tls,
            Speech::Http2 => self.http2,
        }
    }

    /// Requests served so far; an echoed message counts as one.
    pub(crate) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

fn listen() -> io::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Accepts for ever, each connection a task.
async fn accept<F, S>(
    listener: std::net::TcpListener,
    answers: &Rc<Answers>,
    serve: F,
) -> io::Result<()>
where
    F: Fn(Rc<Answers>, TcpStream) -> S,
    S: Future<Output = io::Result<()>> + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(Rc::clone(answers), stream));
    }
}

/// The answers, written once.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    served: Arc<AtomicU64>,
}

impl Answers {
    fn new(served: Arc<AtomicU64>) -> Self {
        Self {
            small: whole(SMALL),
            large: whole(LARGE),
            served,
        }
    }

    /// Answers every request of a connection; after an upgrade it echoes.
    async fn http1<S>(self: Rc<Self>, mut stream: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; ROOM];
        let mut filled = 0;
        loop {
            let Some(head) = head_length(&buffer[..filled]) else {
                if filled == buffer.len() {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                match stream.read(&mut buffer[filled..]).await? {
                    0 => return Ok(()),
                    read => filled += read,
                }
                continue;
            };
            let asked = Asked::of(&buffer[..head]);
            let mut rest = asked.body.saturating_sub(filled - head);
            buffer.copy_within((head + asked.body).min(filled)..filled, 0);
            filled = filled.saturating_sub(head + asked.body);
            while rest > 0 {
                match stream.read(&mut buffer).await? {
                    0 => return Ok(()),
                    read => rest = rest.saturating_sub(read),
                }
            }
            if asked.is_upgrade {
                stream.write_all(SWITCHING).await?;
                stream.flush().await?;
                return self.echo(stream, buffer).await;
            }
            let answer = if asked.is_large {
                &self.large
            } else {
                &self.small
            };
            stream.write_all(answer).await?;
            stream.flush().await?;
            if !asked.is_health {
                self.count();
            }
        }
    }

    async fn echo<S>(&self, mut stream: S, mut buffer: Vec<u8>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..read]).await?;
            stream.flush().await?;
            self.count();
        }
    }

    /// HTTP/2 by prior knowledge; what is sent to the echo comes back, frame by frame.
    async fn http2(self: Rc<Self>, stream: TcpStream) -> io::Result<()> {
        let small = Bytes::from(vec![b'x'; SMALL]);
        let service = service_fn(move |request: Request<Incoming>| {
            let path = request.uri().path();
            let body = if path == ECHO_PATH {
                Either::Left(Echo {
                    served: Arc::clone(&self.served),
                    body: request.into_body(),
                })
            } else {
                if path != HEALTH_PATH {
                    self.count();
                }
                Either::Right(Full::new(small.clone()))
            };
            std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(body)))
        });
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.max_concurrent_streams(10_000);
        let served = server.serve_connection(TokioIo::new(stream), service);
        served.await.map_err(io::Error::other)
    }

    fn count(&self) {
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request's body as that of its answer; each message counts.
struct Echo {
    served: Arc<AtomicU64>,
    body: Incoming,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && frame.data_ref().is_some_and(|data| !data.is_empty())
        {
            self.served.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The answer to the key that our WebSockets have, which is the one of RFC 6455.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
    upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn whole(length: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ndate: Tue, 24 Nov 2026 08:00:00 GMT\r\n\
         content-length: {length}\r\n\r\n"
    );
    let mut answer = head.into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some(end + 4)
}

/// What matters of a request.
struct Asked {
    body: usize,
    is_large: bool,
    is_health: bool,
    is_upgrade: bool,
}

impl Asked {
    fn of(head: &[u8]) -> Self {
        let text = String::from_utf8_lossy(head);
        let mut lines = text.split("\r\n");
        let path = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut asked = Self {
            body: 0,
            is_large: path == Some(LARGE_PATH),
            is_health: path == Some(HEALTH_PATH),
            is_upgrade: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                asked.body = value.trim().parse().unwrap_or(0);
            } else if name.eq_ignore_ascii_case("upgrade") {
                asked.is_upgrade = true;
            }
        }
        asked
    }
}
