//! The admin server over real sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use meridian::admin::health::Flags;
use meridian::admin::view::{HistoryView, RouteView, StatusView};
use meridian::admin::{
    AdminContext, AdminError, AdminServer, AdminSources, ExplainQuery, NotConfirmed,
};
use meridian::board::journal::{HISTORY, Journal};
use meridian::clock::Clock;
use meridian::telemetry::metrics::{MetricsRegistry, families};
use meridian_core::apply::{Beliefs, RegionState};
use meridian_core::change::{Change, ChangeCause, Subject, What};
use meridian_core::config::{AdminConfig, Secret};
use meridian_core::decide::snapshot::EndpointState;
use meridian_core::health::availability::Availability;
use meridian_core::model::id::EndpointId;
use meridian_core::model::time::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::metrics::table;
use crate::support::client::{Reply, request, send};

/// A running admin server, and what a test turns.
struct Admin {
    address: SocketAddr,
    flags: Arc<Flags>,
    beliefs: Arc<Mutex<Beliefs>>,
    reload_works: Arc<AtomicBool>,
    reloads: Arc<AtomicUsize>,
    confirmed: Arc<AtomicUsize>,
    asked: Arc<Mutex<ExplainQuery>>,
    journal: Arc<Journal>,
    _serving: tokio::task::JoinHandle<()>,
}

/// Two regions, both of which can serve.
fn beliefs() -> Beliefs {
    let id = EndpointId {
        slot: 0,
        generation: 0,
    };
    let endpoint = EndpointState::new(id, ([127, 0, 0, 1], 80).into(), 0);
    let region = RegionState {
        endpoints: Arc::new([endpoint]),
        ..RegionState::default()
    };
    Beliefs {
        revision: 7,
        generation: 3,
        table: Arc::new(table(&["api"], &["eu-west-1", "us-east-1"])),
        regions: vec![region; 2],
        ..Beliefs::default()
    }
}

async fn start(token: Option<&str>) -> Admin {
    // A token is asked for where others than this machine could connect.
    let address = if token.is_some() {
        "0.0.0.0:0"
    } else {
        "127.0.0.1:0"
    };
    let config = AdminConfig {
        address: Some(address.parse().unwrap()),
        token: token.map(|token| Secret(token.to_owned())),
    };
    let server = AdminServer::bind(&config).await.unwrap().unwrap();
    let port = server.address().port();
    let flags = Arc::new(Flags::default());
    flags.listening.store(true, Ordering::Release);
    let shared = Arc::new(Mutex::new(beliefs()));
    let (reload_works, reloads) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicUsize::new(0)),
    );
    let asked = Arc::new(Mutex::new(ExplainQuery::default()));
    let confirmed = Arc::new(AtomicUsize::new(0));
    let sources = AdminSources {
        beliefs: Box::new({
            let shared = Arc::clone(&shared);
            move || Arc::new(shared.lock().unwrap().clone())
        }),
        last_reload: Box::new(|| None),
        probes: Box::new(|| json!([])),
        certs: Box::new(|| json!([])),
        config: Box::new(|| json!({"workers": 2})),
        explain: Box::new({
            let asked = Arc::clone(&asked);
            move |query| {
                *asked.lock().unwrap() = query.clone();
                query
                    .path
                    .map(|path| json!({"path": path}))
                    .ok_or_else(|| "no path".to_owned())
            }
        }),
        reload: Box::new({
            let (works, reloads) = (Arc::clone(&reload_works), Arc::clone(&reloads));
            move || {
                reloads.fetch_add(1, Ordering::SeqCst);
                let result = if works.load(Ordering::SeqCst) {
                    Ok(json!({"generation": 4}))
                } else {
                    Err(json!(["meridian.toml:1:1: unknown key"]))
                };
                Box::pin(std::future::ready(result))
            }
        }),
        confirm: Box::new({
            let confirmed = Arc::clone(&confirmed);
            move |name| {
                confirmed.fetch_add(1, Ordering::SeqCst);
                let why = format!("{name} waits for nothing");
                let result = Err(NotConfirmed::NotWaiting(why));
                Box::pin(std::future::ready(result))
            }
        }),
        metrics: Box::new(|page| page.add(&families::LOG_DROPS, &[], 5)),
    };
    let registry = Arc::new(MetricsRegistry::default());
    let journal = Arc::new(Journal::default());
    let state = AdminContext::new(
        Clock::start(),
        registry,
        Arc::clone(&flags),
        sources,
        Arc::clone(&journal),
    );
    let state = Arc::new(state);
    let serving = tokio::spawn(async move {
        tokio::join!(Arc::clone(&state).count_changes(), server.serve(state));
    });
    Admin {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        flags,
        beliefs: shared,
        reload_works,
        reloads,
        confirmed,
        asked,
        journal,
        _serving: serving,
    }
}

impl Admin {
    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, None).await
    }

    async fn ask(&self, method: &str, path: &str, token: Option<&str>) -> Reply {
        let mut request = request(method, path, &[], "");
        let headers = request.headers_mut();
        headers.insert("host", self.address.to_string().parse().unwrap());
        if let Some(token) = token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        send(self.address, request).await.unwrap()
    }

    /// Something changes at a region.
    fn changes(&self, what: What, evidence: &'static str) {
        let change = Change {
            subject: Subject::Region {
                region: "eu-west-1".into(),
            },
            what,
            cause: ChangeCause::Suspicion,
        };
        self.journal
            .keep(SystemTime::UNIX_EPOCH, 7, evidence, change);
    }

    async fn history(&self, since: u64) -> HistoryView {
        let answer = self.get(&format!("/api/v1/events?since={since}")).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Sends `head` as it is, with an end and `Connection: close`, and reads all there is.
    async fn raw(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn text(answer: &Reply) -> &str {
    std::str::from_utf8(&answer.body).unwrap()
}

fn value(answer: &Reply) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_page_that_rebinds_its_name_gets_nothing() {
    let admin = start(None).await;
    let answer = admin
        .raw("GET /api/v1/config HTTP/1.1\r\nHost: evil.example")
        .await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(answer.contains("application/problem+json"));
    assert!(!answer.contains("workers"));
    let answer = admin
        .raw("GET /api/v1/config HTTP/1.1\r\nHost: localhost:1")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_change_is_taken_by_post_only_and_not_from_another_site() {
    let admin = start(None).await;
    let answer = admin
        .raw("GET /api/v1/config:reload HTTP/1.1\r\nHost: localhost")
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("\r\nallow: post\r\n"),
        "{answer}"
    );
    let post = "POST /api/v1/config:reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0";
    let answer = admin
        .raw(&format!("{post}\r\nOrigin: https://evil.example"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(admin.reloads.load(Ordering::SeqCst), 0);
    let answer = admin.raw(post).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(admin.reloads.load(Ordering::SeqCst), 1);
    let answer = admin
        .raw("POST /api/v1/status HTTP/1.1\r\nHost: localhost")
        .await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn a_confirmation_is_guarded_like_every_change() {
    let admin = start(None).await;
    let post = "POST /api/v1/regions/eu-west-1:confirm HTTP/1.1\r\nContent-Length: 0";
    let answer = admin.raw(&format!("{post}\r\nHost: evil.example")).await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let answer = admin
        .raw(&format!(
            "{post}\r\nHost: localhost\r\nOrigin: https://evil.example"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let admin_with_token = start(Some("secret")).await;
    let path = "/api/v1/regions/eu-west-1:confirm";
    assert_eq!(admin_with_token.ask("POST", path, None).await.status, 401);
    assert_eq!(admin.ask("GET", path, None).await.status, 405);
    for path in ["/api/v1/regions/:confirm", "/api/v1/regions/a/b:confirm"] {
        assert_eq!(admin.ask("POST", path, None).await.status, 404, "{path}");
    }
    assert_eq!(admin.confirmed.load(Ordering::SeqCst), 0);
    let answer = admin.ask("POST", path, None).await;
    assert_eq!(answer.status, 409);
    assert_eq!(value(&answer)["detail"], "eu-west-1 waits for nothing");
    assert_eq!(admin.confirmed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refused_reload_and_an_unknown_path_are_problems() {
    let admin = start(None).await;
    admin.reload_works.store(false, Ordering::SeqCst);
    let answer = admin.ask("POST", "/api/v1/config:reload", None).await;
    assert_eq!(answer.status, 422);
    assert_eq!(
        value(&answer)["errors"][0],
        "meridian.toml:1:1: unknown key"
    );
    let answer = admin.get("/api/v1/nothing").await;
    assert_eq!(
        (answer.status, value(&answer)["status"].clone()),
        (404, json!(404))
    );
}

#[tokio::test]
async fn ready_ends_when_the_drain_begins_or_a_route_has_no_region() {
    let admin = start(None).await;
    assert_eq!(text(&admin.get("/readyz").await), "ok\n");
    let verbose = admin.get("/readyz?verbose").await;
    assert!(text(&verbose).contains("[+] route api has a serving region\n"));

    let since = Timestamp::ZERO;
    for region in &mut admin.beliefs.lock().unwrap().regions {
        region.availability = Availability::Out { since };
    }
    let answer = admin.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(text(&answer).contains("[-] route api has a serving region\n"));
    admin.beliefs.lock().unwrap().regions[0].availability = Availability::Up;
    assert_eq!(admin.get("/readyz").await.status, 200);

    admin.flags.draining.store(true, Ordering::Release);
    let answer = admin.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(text(&answer).contains("[-] not draining\n"));
    assert_eq!(
        admin.get("/livez").await.status,
        200,
        "leaving is not dying"
    );
    assert_eq!(
        admin.get("/startupz").await.status,
        503,
        "nothing was probed yet"
    );
}

#[tokio::test]
async fn the_views_are_what_the_command_line_reads() {
    let admin = start(None).await;
    let answer = admin.get("/api/v1/status").await;
    let status: StatusView = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (status.generation, status.revision, status.routes),
        (3, 7, 1)
    );
    assert!(status.ready && status.regions.iter().all(|region| region.serving));
    assert_eq!(status.regions[0].name, "eu-west-1");
    let answer = admin.get("/api/v1/routes").await;
    let routes: Vec<RouteView> = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(routes[0].regions, ["eu-west-1", "us-east-1"]);
    let answer = admin.get("/api/v1/explain?country=DE&path=%2Fv1").await;
    assert_eq!(value(&answer), json!({"path": "/v1"}));
    assert_eq!(admin.asked.lock().unwrap().country.as_deref(), Some("DE"));
    assert_eq!(admin.get("/api/v1/explain").await.status, 400);
    let page = admin.get("/metrics").await;
    assert!(text(&page).contains("meridian_region_up{region=\"us-east-1\"} 1\n"));
    assert!(text(&page).contains("meridian_log_records_dropped_total 5\n"));
}

#[tokio::test]
async fn an_event_reaches_a_reader() {
    let admin = start(None).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    stream
        .write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut seen = read_until(&mut stream, ": connected").await;
    assert!(seen.contains("text/event-stream"), "{seen}");
    let drained = What::Operator {
        state: meridian_core::decide::snapshot::AdminState::Drained,
    };
    admin.changes(drained, "operator");
    seen = read_until(&mut stream, "\"to\":\"drained\"").await;
    assert!(seen.contains("event: operator\ndata: {"), "{seen}");
    assert!(seen.contains("\"cause\":\"a request failed\""), "{seen}");
    let data = "\"change\":{\"subject\":{\"kind\":\"region\",\"region\":\"eu-west-1\"},\
        \"what\":\"operator\",\"state\":\"drained\",\"cause\":{\"kind\":\"suspicion\"}}";
    assert!(seen.contains(data), "{seen}");
    admin.changes(What::EjectionSuppressed, "probe");
    read_until(&mut stream, "event: ejection_suppressed").await;
    let counted = "kind=\"ejection_suppressed\"";
    let mut page = admin.get("/metrics").await;
    while !text(&page).contains(counted) {
        page = admin.get("/metrics").await;
    }
    for line in [
        "meridian_ejections_suppressed_total{region=\"eu-west-1\"} 1\n",
        "meridian_ejections_suppressed_total{region=\"us-east-1\"} 0\n",
        "meridian_transitions_total{kind=\"ejection_suppressed\",cause=\"probe\"} 1\n",
        "meridian_transitions_total{kind=\"operator\",cause=\"operator\"} 1\n",
    ] {
        assert!(text(&page).contains(line), "{line}");
    }
}

#[tokio::test]
async fn what_changed_before_a_caller_came_is_served_and_what_it_knows_is_left_out() {
    let admin = start(None).await;
    let empty = admin.history(0).await;
    assert_eq!((empty.oldest, empty.newest, empty.events.len()), (1, 0, 0));
    for began in [true, false] {
        admin.changes(What::CorrelatedFailure { began }, "probe");
    }
    let all = admin.history(0).await;
    let told: Vec<_> = all.events.iter().map(|event| event.to.as_deref()).collect();
    assert_eq!(told, [Some("began"), Some("ended")]);
    assert_eq!((all.oldest, all.newest, all.dropped), (1, 2, 0));
    assert_eq!((all.events[0].sequence, all.events[0].revision), (1, 7));
    let rest = admin.history(1).await;
    assert_eq!(rest.events, all.events[1..]);
    assert!(admin.history(2).await.events.is_empty());
    let of_an_earlier_process = admin.history(900).await;
    assert_eq!(of_an_earlier_process.events, all.events);
    assert_eq!(admin.get("/api/v1/events?since=x").await.status, 400);

    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let request = "GET /api/v1/events?since=1 HTTP/1.1\r\nHost: localhost\r\n\
        Accept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    admin.changes(What::EjectionSuppressed, "probe");
    let seen = read_until(&mut stream, "id: 3\n").await;
    assert!(
        seen.contains("id: 2\nevent: correlated_failure\n"),
        "{seen}"
    );
    assert!(!seen.contains("id: 1\n"), "{seen}");
}

#[tokio::test]
async fn the_history_is_bounded_and_says_what_it_dropped() {
    let admin = start(None).await;
    for _ in 0..HISTORY + 3 {
        admin.changes(What::EjectionSuppressed, "probe");
    }
    let all = admin.history(0).await;
    assert_eq!(all.events.len(), HISTORY);
    assert_eq!((all.oldest, all.dropped), (4, 3));
    assert_eq!(all.newest, HISTORY as u64 + 3);
    assert_eq!(all.events[0].sequence, 4);
    let page = admin.get("/metrics").await;
    assert!(text(&page).contains("meridian_history_dropped_total 3\n"));
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = String::new();
    let mut chunk = [0; 1024];
    while !seen.contains(end) {
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "closed after {seen}");
        seen.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    seen
}

#[tokio::test]
async fn an_address_open_to_the_network_needs_the_token() {
    let config = AdminConfig {
        address: Some("0.0.0.0:0".parse().unwrap()),
        token: None,
    };
    let refused = AdminServer::bind(&config).await;
    assert!(matches!(refused, Err(AdminError::TokenMissing { .. })));

    let admin = start(Some("secret")).await;
    assert_eq!(admin.get("/api/v1/config").await.status, 401);
    assert_eq!(admin.get("/readyz?verbose").await.status, 401);
    assert_eq!(
        admin.get("/readyz").await.status,
        200,
        "load balancers cannot send one"
    );
    let wrong = admin.ask("GET", "/metrics", Some("secrets")).await;
    assert_eq!(wrong.status, 401);
    let right = admin.ask("GET", "/metrics", Some("secret")).await;
    assert_eq!(right.status, 200);
}

#[tokio::test]
async fn a_head_beyond_the_limit_is_refused() {
    let admin = start(None).await;
    let long = "x".repeat(32 << 10);
    let answer = admin
        .raw(&format!(
            "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}
