//! One viewer: one connection, and requests that go out together.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::certificates::{AUTHORITY, NAME};
use crate::origin::{ANSWER, QUIET};
use crate::row::{Load, Speech};

/// In Germany by the built-in table.
const ADDRESS: &str = "5.6.7.8";

/// A connected viewer.
pub(crate) struct Client {
    runtime: Runtime,
    sender: Sender,
    load: Load,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects; the authority's certificate is in `folder`.
    pub(crate) fn connect(address: SocketAddr, load: Load, folder: &Path) -> io::Result<Self> {
        // One thread, so that what goes out together is written together.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            if load.speech.is_tls() {
                let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
                let connector = connector(load.speech, folder)?;
                open(connector.connect(name, stream).await?, load.speech).await
            } else {
                open(stream, load.speech).await
            }
        })?;
        Ok(Self {
            runtime,
            sender,
            load,
        })
    }

    /// Sends so many requests at least, and waits for each round of them; says how many it sent.
    pub(crate) fn send(&mut self, requests: usize) -> io::Result<usize> {
        let rounds = requests.div_ceil(self.load.streams);
        for _ in 0..rounds {
            let round = round(&mut self.sender, self.load);
            self.runtime.block_on(round)?;
        }
        Ok(rounds * self.load.streams)
    }
}

/// All requests of a round, and a rest until the proxy has nothing left to do.
async fn round(sender: &mut Sender, load: Load) -> io::Result<()> {
    match sender {
        Sender::Http1(sender) => {
            sender.ready().await.map_err(io::Error::other)?;
            let answer = sender.send_request(request(load)?).await;
            check(answer.map_err(io::Error::other)?).await?;
        }
        Sender::Http2(sender) => {
            sender.ready().await.map_err(io::Error::other)?;
            let mut answers = JoinSet::new();
            for _ in 0..load.streams {
                let answer = sender.send_request(request(load)?);
                answers.spawn(async { check(answer.await.map_err(io::Error::other)?).await });
            }
            while let Some(answer) = answers.join_next().await {
                answer??;
            }
        }
    }
    tokio::time::sleep(QUIET).await;
    Ok(())
}

async fn check(answer: Response<Incoming>) -> io::Result<()> {
    let status = answer.status();
    let body = answer.into_body().collect().await;
    let length = body.map_err(io::Error::other)?.to_bytes().len();
    if status == 200 && length == ANSWER {
        Ok(())
    } else {
        let problem = format!("the answer was {status} with {length} bytes");
        Err(io::Error::other(problem))
    }
}

fn request(load: Load) -> io::Result<Request<Full<Bytes>>> {
    let method = if load.upload == 0 {
        Method::GET
    } else {
        Method::POST
    };
    let mut request = Request::builder().method(method);
    request = match load.speech {
        Speech::Http1 | Speech::Http1Tls => request.uri("/a/path?a=query").header("host", NAME),
        Speech::Http2Tls => request.uri(format!("https://{NAME}/a/path?a=query")),
    };
    request
        .header("x-forwarded-for", ADDRESS)
        .header("user-agent", "meridian-bench/1.0")
        .header("accept", "*/*")
        .header("accept-encoding", "gzip, br")
        .body(Full::new(Bytes::from(vec![b'x'; load.upload])))
        .map_err(io::Error::other)
}

async fn open<S>(stream: S, speech: Speech) -> io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    if speech == Speech::Http2Tls {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Sender::Http2(sender))
    } else {
        let (sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Sender::Http1(sender))
    }
}

fn connector(speech: Speech, folder: &Path) -> io::Result<TlsConnector> {
    let authority =
        CertificateDer::from_pem_file(folder.join(AUTHORITY)).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let speaks: &[u8] = if speech == Speech::Http2Tls {
        b"h2"
    } else {
        b"http/1.1"
    };
    config.alpn_protocols = vec![speaks.to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
