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

use crate::demo::fault::{Fault, Faults};

/// One region as the endpoint shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionFault {
    /// Its name.
    pub region: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The listening endpoint.
///
/// `GET /regions` lists the regions; `POST /regions/REGION/WORD` sets a fault and answers with
/// the region, where `WORD` is one of [`Fault::WORDS`]. Errors are `problem+json`.
#[derive(Debug)]
pub struct Control {
    listener: TcpListener,
    faults: Faults,
}

impl Control {
    /// Binds the endpoint; [`Control::serve`] answers on it. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, faults: Faults) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener, faults })
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
                    tokio::spawn(converse(stream, self.faults.clone()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

fn converse(stream: TcpStream, faults: Faults) -> impl Future<Output = ()> {
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let response = respond(request.method(), request.uri().path(), &faults);
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
    let all = || faults.all().into_iter();
    if method == Method::GET && path == "/regions" {
        let regions: Vec<_> = all()
            .map(|(region, fault)| RegionFault { region, fault })
            .collect();
        return json(StatusCode::OK, &regions);
    }
    let target = path.strip_prefix("/regions/").and_then(|rest| {
        let (region, word) = rest.split_once('/')?;
        Some((region, Fault::from_word(word)?))
    });
    let Some((region, fault)) = target else {
        return problem(StatusCode::NOT_FOUND, "no such page");
    };
    if method != Method::POST {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "faults are set by POST");
    }
    match faults.set(region, fault) {
        Ok(()) => {
            let region = region.to_owned();
            json(StatusCode::OK, &RegionFault { region, fault })
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
    use tokio::sync::watch;

    use super::*;
    use crate::demo::fault::FaultSwitch;

    fn faults() -> Faults {
        let (sender, _) = watch::channel(Fault::None);
        let region = "eu-west-1".to_owned();
        Faults::new(vec![FaultSwitch { region, sender }])
    }

    #[test]
    fn a_fault_is_set_by_post_only() {
        let faults = faults();
        let path = "/regions/eu-west-1/gray";
        let refused = respond(&Method::GET, path, &faults).status();
        assert_eq!(refused, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(faults.all(), vec![("eu-west-1".to_owned(), Fault::None)]);
        assert_eq!(respond(&Method::POST, path, &faults).status(), 200);
        assert_eq!(faults.all(), vec![("eu-west-1".to_owned(), Fault::Gray)]);
    }

    #[test]
    fn an_unknown_region_or_word_is_not_found() {
        for path in ["/regions/mars/fail", "/regions/eu-west-1/explode", "/"] {
            assert_eq!(respond(&Method::POST, path, &faults()).status(), 404);
        }
    }
}
