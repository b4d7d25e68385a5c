//! The endpoints, and what answers each.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::ACCEPT;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::json;

use crate::admin::context::{AdminContext, ExplainQuery, NotConfirmed};
use crate::admin::health::{self, Check};
use crate::admin::query::Query;
use crate::admin::reply::{self, Reply};
use crate::admin::scrape;
use crate::admin::view::{HistoryView, RegionView, RouteView, StatusView};
use crate::telemetry::metrics::ExpositionFormat;

/// A request's body may have this many bytes.
const MAX_BODY: usize = 1 << 20;
/// And must have come whole in this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a browser says when it connects again (WHATWG HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "last-event-id";

const INDEX: &str = include_str!("index.html");

/// What a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Index,
    Live,
    Ready,
    Started,
    Metrics,
    Status,
    Regions,
    Routes,
    Probes,
    Certs,
    Config,
    Explain,
    Events,
    Reload,
    Confirm,
}

impl Endpoint {
    pub(crate) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Index,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/startupz" => Self::Started,
            "/metrics" => Self::Metrics,
            "/api/v1/status" => Self::Status,
            "/api/v1/regions" => Self::Regions,
            "/api/v1/routes" => Self::Routes,
            "/api/v1/probes" => Self::Probes,
            "/api/v1/certs" => Self::Certs,
            "/api/v1/config" => Self::Config,
            "/api/v1/explain" => Self::Explain,
            "/api/v1/events" => Self::Events,
            "/api/v1/config:reload" => Self::Reload,
            other => return confirmed_region(other).map(|_| Self::Confirm),
        })
    }

    /// Whether it only says yes or no: load balancers ask these and cannot send a token.
    pub(crate) fn is_health(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Started)
    }

    fn changes_something(self) -> bool {
        matches!(self, Self::Reload | Self::Confirm)
    }

    /// The methods it takes, for `Allow`.
    fn allowed(self) -> &'static str {
        if self.changes_something() {
            "POST"
        } else {
            "GET, HEAD"
        }
    }

    pub(crate) fn takes(self, method: &Method) -> bool {
        if self.changes_something() {
            method == Method::POST
        } else {
            method == Method::GET || method == Method::HEAD
        }
    }
}

/// The region that a path wants to be confirmed. Names have no character that a URL escapes.
fn confirmed_region(path: &str) -> Option<&str> {
    let name = path
        .strip_prefix("/api/v1/regions/")?
        .strip_suffix(":confirm")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Answers a request that was let in.
pub(crate) async fn answer(state: &Arc<AdminContext>, request: Request<Incoming>) -> Reply {
    let Some(endpoint) = Endpoint::of(request.uri().path()) else {
        return reply::problem(StatusCode::NOT_FOUND, "no such endpoint; / lists them");
    };
    if !endpoint.takes(request.method()) {
        return reply::wrong_method(endpoint.allowed());
    }
    let query = Query::parse(request.uri().query());
    match endpoint {
        Endpoint::Index => reply::text(StatusCode::OK, "text/html; charset=utf-8", INDEX),
        Endpoint::Live => reply::text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        Endpoint::Ready => health::answer("readyz", &ready(state), query.flag("verbose")),
        Endpoint::Started => {
            let checks = health::started(&(state.sources.beliefs)(), state.clock.now());
            health::answer("startupz", &checks, query.flag("verbose"))
        }
        Endpoint::Metrics => {
            let accept = request
                .headers()
                .get(ACCEPT)
                .and_then(|value| value.to_str().ok());
            metrics(state, ExpositionFormat::accepted(accept))
        }
        Endpoint::Status => reply::json(&status(state)),
        Endpoint::Regions => reply::json(&RegionView::all(
            &(state.sources.beliefs)(),
            state.clock.now(),
        )),
        Endpoint::Routes => reply::json(&RouteView::all(&(state.sources.beliefs)())),
        Endpoint::Probes => reply::json(&(state.sources.probes)()),
        Endpoint::Certs => reply::json(&(state.sources.certs)()),
        Endpoint::Config => reply::json(&(state.sources.config)()),
        Endpoint::Explain => explain(state, &query),
        Endpoint::Events => events(state, &request, &query),
        Endpoint::Reload => reload(state, request).await,
        Endpoint::Confirm => confirm(state, request).await,
    }
}

fn ready(state: &AdminContext) -> Vec<Check> {
    health::ready(&state.flags, &(state.sources.beliefs)())
}

fn metrics(state: &AdminContext, format: ExpositionFormat) -> Reply {
    let mut page = scrape::page(state);
    (state.sources.metrics)(&mut page);
    state.registry.collect(&mut page);
    let text = page.render(format);
    reply::text(StatusCode::OK, format.content_type(), text)
}

fn status(state: &AdminContext) -> StatusView {
    let beliefs = (state.sources.beliefs)();
    let now = state.clock.now();
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        generation: beliefs.generation,
        revision: beliefs.revision,
        uptime_seconds: now.since_start().as_secs_f64(),
        draining: state.flags.draining.load(Ordering::Acquire),
        ready: health::all_passed(&health::ready(&state.flags, &beliefs)),
        correlated_failure: beliefs.correlated_failure,
        routes: beliefs.table.routes.len(),
        regions: RegionView::all(&beliefs, now),
        last_reload: (state.sources.last_reload)(),
    }
}

fn explain(state: &AdminContext, query: &Query) -> Reply {
    let value = |name: &str| query.value(name).map(str::to_owned);
    let asked = ExplainQuery {
        country: value("country"),
        path: value("path"),
        method: value("method"),
        host: value("host"),
        ip: value("ip"),
    };
    match (state.sources.explain)(asked) {
        Ok(answer) => reply::json(&answer),
        Err(why) => reply::problem(StatusCode::BAD_REQUEST, &why),
    }
}

/// What changed since a change that the caller knows, as JSON; without one, or if the caller asks
/// for a stream, what changes from now on as well, as it comes.
fn events(state: &AdminContext, request: &Request<Incoming>, query: &Query) -> Reply {
    let header = |name| request.headers().get(name)?.to_str().ok();
    let known = query.value("since").or_else(|| header(LAST_EVENT_ID));
    let Ok(known) = known.map(str::parse::<u64>).transpose() else {
        let detail = "`since` is the sequence of an event, a whole number";
        return reply::problem(StatusCode::BAD_REQUEST, detail);
    };
    let streams = header(ACCEPT.as_str()).is_some_and(|accept| accept.contains("event-stream"));
    if let (Some(known), false) = (known, streams) {
        return reply::json(&HistoryView::of(&state.journal.since(known)));
    }
    match Arc::clone(&state.event_readers).try_acquire_owned() {
        Ok(permit) => {
            let journal = &state.journal;
            let changes = known.map_or_else(|| journal.listen(), |known| journal.follow(known));
            reply::events(changes, permit)
        }
        Err(_) => reply::problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "as many readers of events as there may be",
        ),
    }
}

/// Blocks until the new configuration serves or is refused.
async fn reload(state: &AdminContext, request: Request<Incoming>) -> Reply {
    if let Err(refusal) = read_to_its_end(request).await {
        return refusal;
    }
    match (state.sources.reload)().await {
        Ok(result) => reply::json(&result),
        Err(errors) => reply::problem_with(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the configuration was refused; the old one goes on",
            Some(errors),
        ),
    }
}

/// Blocks until the region's return is published or refused.
async fn confirm(state: &AdminContext, request: Request<Incoming>) -> Reply {
    let name = confirmed_region(request.uri().path()).unwrap_or_default();
    let name = name.to_owned();
    if let Err(refusal) = read_to_its_end(request).await {
        return refusal;
    }
    match (state.sources.confirm)(name.clone()).await {
        Ok(result) => reply::json(&result),
        Err(NotConfirmed::UnknownRegion { known }) => {
            let detail = format!(
                "no region is called `{name}`; there is {}",
                known.join(", ")
            );
            let errors = json!({ "regions": known });
            reply::problem_with(StatusCode::NOT_FOUND, &detail, Some(errors))
        }
        Err(NotConfirmed::NotWaiting(why)) => reply::problem(StatusCode::CONFLICT, &why),
    }
}

/// A body that says nothing; it is read so that the connection can go on, within its bound.
async fn read_to_its_end(request: Request<Incoming>) -> Result<(), Reply> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    if matches!(tokio::time::timeout(BODY_TIMEOUT, body).await, Ok(Ok(_))) {
        return Ok(());
    }
    let detail = "the body is broken, over 1 MiB, or took over 5 s";
    Err(reply::problem(StatusCode::BAD_REQUEST, detail))
}
