//! The small HTTP endpoint through which another process sets faults in a running demo.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use crate::demo::fault::Fault;
use crate::demo::switch::Faults;

/// One region as the endpoint shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionFault {
    /// Its name.
    pub region: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// Where the demo's proxy is, for those who know of the control only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whereabouts {
    /// The plain listener.
    pub http: SocketAddr,
    /// The admin endpoint.
    pub admin: SocketAddr,
}

/// The listening endpoint.
///
/// `GET /regions` lists the regions, `GET /faults` the words, `GET /world` tells where the proxy
/// is. `POST /regions/REGION/WORD` sets a fault and answers with the regions that now have it:
/// `REGION` is a name, several with commas between, or `all`; `WORD` is one of [`Fault::WORDS`].
/// Errors are `problem+json`.
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
    faults: Faults,
    whereabouts: Whereabouts,
}

impl Control {
    /// Binds the endpoint; [`Control::serve`] answers on it. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(
        address: SocketAddr,
        faults: Faults,
        whereabouts: Whereabouts,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self {
            listener,
            faults,
            whereabouts,
        })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let (faults, whereabouts) = (self.faults.clone(), self.whereabouts.clone());
                    tokio::spawn(converse(stream, faults, whereabouts));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

fn converse(
    stream: TcpStream,
    faults: Faults,
    whereabouts: Whereabouts,
) -> impl Future<Output = ()> {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = match (request.method(), request.uri().path()) {
            (&Method::GET, "/world") => json(StatusCode::OK, &whereabouts),
            (method, path) => respond(method, path, &faults),
        };
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(TokioIo::new(stream), service);
    async move {
        // A caller that breaks off gets no answer; nobody else is concerned.
        let _ = connection.await;
    }
}

fn respond(method: &Method, path: &str, faults: &Faults) -> Response<Full<Bytes>> {
    if method == Method::GET && path == "/regions" {
        let all = faults.all().into_iter();
        let regions: Vec<_> = all
            .map(|(region, fault)| RegionFault { region, fault })
            .collect();
        return json(StatusCode::OK, &regions);
    }
    if method == Method::GET && path == "/faults" {
        return json(StatusCode::OK, &Fault::WORDS);
    }
    let target = path.strip_prefix("/regions/");
    let Some((regions, word)) = target.and_then(|rest| rest.split_once('/')) else {
        return problem(StatusCode::NOT_FOUND, "no such page");
    };
    let Some(fault) = Fault::from_word(word) else {
        let words = Fault::WORDS.map(|known| known.word).join(", ");
        let detail = format!("there is no fault {word:?}; there are {words}");
        return problem(StatusCode::NOT_FOUND, &detail);
    };
    if method != Method::POST {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "faults are set by POST");
    }
    match faults.set(regions.split(','), fault) {
        Ok(regions) => {
            let regions = regions.into_iter();
            let regions: Vec<_> = regions
                .map(|region| RegionFault { region, fault })
                .collect();
            json(StatusCode::OK, &regions)
        }
        Err(unknown) => problem(StatusCode::NOT_FOUND, &unknown.to_string()),
    }
}

fn problem(status: StatusCode, detail: &str) -> Response<Full<Bytes>> {
    let value = serde_json::json!({ "status": status.as_u16(), "detail": detail });
    let mut response = json(status, &value);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let text = serde_json::to_vec(value).expect("a struct of strings always serialises");
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::switch::FaultSwitch;

    fn faults() -> Faults {
        Faults::new(["eu-west-1", "us-east-1"].map(FaultSwitch::new).into())
    }

    fn with(eu: Fault, us: Fault) -> Vec<(String, Fault)> {
        vec![("eu-west-1".to_owned(), eu), ("us-east-1".to_owned(), us)]
    }

    #[test]
    fn a_fault_is_set_by_post_only() {
        let faults = faults();
        let path = "/regions/eu-west-1/gray";
        let refused = respond(&Method::GET, path, &faults).status();
        assert_eq!(refused, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(faults.all(), with(Fault::None, Fault::None));
        assert_eq!(respond(&Method::POST, path, &faults).status(), 200);
        assert_eq!(faults.all(), with(Fault::Gray, Fault::None));
    }

    #[test]
    fn several_regions_or_all_are_set_at_once() {
        let faults = faults();
        let post = |path: &str| respond(&Method::POST, path, &faults).status();
        assert_eq!(post("/regions/us-east-1,eu-west-1/hang"), 200);
        assert_eq!(faults.all(), with(Fault::Hang, Fault::Hang));
        assert_eq!(post("/regions/all/heal"), 200);
        assert_eq!(faults.all(), with(Fault::None, Fault::None));
        assert_eq!(post("/regions/us-east-1,mars/hang"), 404);
        assert_eq!(faults.all(), with(Fault::None, Fault::None));
    }

    #[test]
    fn an_unknown_region_or_word_is_not_found() {
        for path in ["/regions/mars/fail", "/regions/eu-west-1/explode", "/"] {
            assert_eq!(respond(&Method::POST, path, &faults()).status(), 404);
        }
    }
}
