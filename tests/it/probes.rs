//! Probes find out whether an endpoint is well, and how fast it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian::board::Board;
use meridian::clock::Clock;
use meridian::probe::Prober;
use meridian::probe::http::{ProbeClient, ProbeQuestion};
use meridian::upstream::connect::DialTarget;
use meridian_core::apply::Event;
use meridian_core::change::What;
use meridian_core::health::rise_fall::Health;
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::{ProbeFailure, ProbeOutcome};
use meridian_core::table::origin::{OriginHost, ProbeSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::resources::{board, resources, until};
use crate::support::tables::{region, table};

/// What the origin does with a request.
#[derive(Clone, Copy)]
enum Reply {
    /// Answers 200 with this body and keeps the connection.
    Body(&'static str),
    /// Answers with these bytes and closes.
    Last(&'static str),
    /// Never answers.
    Hang,
}

/// An origin that answers every request alike and counts its connections.
struct Origin {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Origin {
    async fn start(reply: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, reply));
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, reply: Reply) {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(read) => head.extend_from_slice(&buffer[..read]),
            }
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        assert!(text.starts_with("GET /health HTTP/1.1\r\n"), "{text}");
        assert!(text.contains("user-agent: meridian-probe/"), "{text}");
        match reply {
            Reply::Body(body) => {
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            Reply::Last(answer) => {
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
            Reply::Hang => std::future::pending().await,
        }
    }
}

fn question(address: SocketAddr, spec: ProbeSpec) -> ProbeQuestion {
    ProbeQuestion {
        target: DialTarget {
            address,
            tls: None,
            prior_knowledge: false,
        },
        region: "eu".into(),
        authority: "api.example.com".to_owned(),
        spec,
    }
}

async fn outcome(reply: Reply, spec: ProbeSpec) -> ProbeOutcome {
    let origin = Origin::start(reply).await;
    ProbeClient::default()
        .probe(&question(origin.address, spec))
        .await
        .unwrap()
}

fn is_warm(outcome: &ProbeOutcome) -> bool {
    match outcome {
        ProbeOutcome::Passed { phases, warm } => {
            assert!(phases.first_byte.is_some());
            assert_eq!(phases.connect.is_none(), *warm);
            *warm
        }
        ProbeOutcome::Failed(failure) => panic!("{failure}"),
    }
}

#[tokio::test]
async fn one_connection_serves_many_probes_and_every_tenth_dials_anew() {
    let origin = Origin::start(Reply::Body("fine")).await;
    let question = question(origin.address, ProbeSpec::default());
    let mut line = ProbeClient::default();
    let mut warm = Vec::new();
    for _ in 0..20 {
        warm.push(is_warm(&line.probe(&question).await.unwrap()));
    }
    let fresh: Vec<_> = (0..20).filter(|probe| !warm[*probe]).collect();
    assert_eq!(fresh, [0, 10]);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_no_failure() {
    let origin = Origin::start(Reply::Last(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ))
    .await;
    let question = question(origin.address, ProbeSpec::default());
    let mut line = ProbeClient::default();
    for _ in 0..5 {
        assert!(!is_warm(&line.probe(&question).await.unwrap()));
    }
    assert_eq!(origin.connections(), 5);
}

#[tokio::test]
async fn an_http2_origin_is_asked_in_http2_and_stays_connected() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|request: Request<Incoming>| async move {
            let uri = request.uri();
            let asked = uri
                .authority()
                .is_some_and(|host| host == "api.example.com");
            let status = if asked && uri.path() == "/health" {
                200
            } else {
                421
            };
            Response::builder()
                .status(status)
                .body(Full::new(Bytes::from_static(b"fine")))
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        let _ = connection.await;
    });
    let mut question = question(address, ProbeSpec::default());
    question.target.prior_knowledge = true;
    let mut line = ProbeClient::default();
    assert!(!is_warm(&line.probe(&question).await.unwrap()));
    assert!(is_warm(&line.probe(&question).await.unwrap()));
}

#[tokio::test]
async fn a_status_out_of_range_fails() {
    let answer = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(
        outcome(Reply::Last(answer), ProbeSpec::default()).await,
        ProbeOutcome::Failed(ProbeFailure::Status(503))
    );
}

#[tokio::test]
async fn text_json_and_the_regions_name_are_checked() {
    let text = ProbeSpec {
        text: Some("ready".to_owned()),
        ..ProbeSpec::default()
    };
    assert_eq!(
        outcome(Reply::Body("starting"), text).await,
        ProbeOutcome::Failed(ProbeFailure::Text("ready".to_owned()))
    );
    let json = ProbeSpec {
        json: vec![("checks.*".to_owned(), "ok".into())],
        ..ProbeSpec::default()
    };
    assert!(matches!(
        outcome(Reply::Body(r#"{"checks":{"db":"down"}}"#), json).await,
        ProbeOutcome::Failed(ProbeFailure::Json { .. })
    ));
    let identity = ProbeSpec {
        region_field: Some("region".to_owned()),
        ..ProbeSpec::default()
    };
    assert_eq!(
        outcome(Reply::Body(r#"{"region":"us"}"#), identity).await,
        ProbeOutcome::Failed(ProbeFailure::WrongRegion("us".to_owned()))
    );
}

#[tokio::test]
async fn an_origin_that_hangs_is_a_timeout() {
    let limit = Duration::from_millis(50);
    let spec = ProbeSpec {
        timeout: limit,
        ..ProbeSpec::default()
    };
    assert_eq!(
        outcome(Reply::Hang, spec).await,
        ProbeOutcome::Failed(ProbeFailure::Timeout { limit })
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_and_an_answer_that_is_no_http_fail() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nhalf",
        "220 smtp.example.com ESMTP\r\n\r\n",
    ] {
        assert!(matches!(
            outcome(Reply::Last(answer), ProbeSpec::default()).await,
            ProbeOutcome::Failed(ProbeFailure::Protocol(_))
        ));
    }
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let question = question(address, ProbeSpec::default());
    assert_eq!(
        ProbeClient::default().probe(&question).await.unwrap(),
        ProbeOutcome::Failed(ProbeFailure::Refused)
    );
}

/// A board with one region whose probes are an hour apart, and its prober.
async fn probed(hour: Duration) -> (Board, Prober) {
    let clock = Clock::start();
    let spec = ProbeSpec {
        interval: hour,
        fast_interval: hour,
        ..ProbeSpec::default()
    };
    let host = OriginHost::Address([127, 0, 0, 1].into());
    let resources = resources(table(vec![region("eu", host, 80, spec)]), 1);
    let board = board(resources, clock).await;
    let prober = Prober::start(&board, clock, Arc::default());
    (board, prober)
}

fn resolved(board: &Board, addresses: Vec<SocketAddr>) {
    assert!(board.tell(Event::Resolved {
        generation: board.live().snapshot.generation,
        region: RegionId(0),
        origin: 0,
        addresses,
    }));
}

#[tokio::test]
async fn an_endpoint_is_probed_from_its_coming_to_its_going() {
    let well = Origin::start(Reply::Body("fine")).await;
    let other = Origin::start(Reply::Body("fine")).await;
    let (board, prober) = probed(Duration::from_secs(3600)).await;
    let mut changes = board.journal().listen();
    resolved(&board, vec![well.address]);
    let mut revisions = board.revisions();
    let live = board.clone();
    let health = || live.live().snapshot.regions[0].health;
    until(&mut revisions, || health() == Health::Healthy).await;
    assert_eq!(prober.reports()[0].passed, 1);
    let first = changes.next().await.unwrap();
    assert_eq!(board.journal().since(0).changes[0], first);
    assert!(matches!(first.change.what, What::Addresses { .. }));

    resolved(&board, vec![other.address]);
    let mut changes = prober.changes();
    let last = || prober.reports().last().map(|report| report.address);
    until(&mut changes, || {
        last() == Some(other.address) && prober.reports().len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_suspicion_probes_at_once() {
    let origin = Origin::start(Reply::Body("fine")).await;
    let (board, prober) = probed(Duration::from_secs(3600)).await;
    resolved(&board, vec![origin.address]);
    let mut changes = prober.changes();
    let passed = || prober.reports().first().map_or(0, |report| report.passed);
    until(&mut changes, || passed() == 1).await;
    let endpoint = prober.reports()[0].endpoint;
    board.tell(Event::Suspected { endpoint });
    until(&mut changes, || passed() == 2).await;
    assert_eq!(origin.connections(), 1);
}
