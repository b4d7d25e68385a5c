//! One request through the whole proxy and back, over loopback, beside the same without it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use meridian::app::App;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

fn round_trip(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let origin = runtime.block_on(origin());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bench.toml");
    let text = format!(
        "workers = 1\n[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"off\"\n\
         [access_log]\nenabled = false\n[region.here]\norigins = [\"http://{origin}\"]\n\
         [[route]]\npath = \"/\"\nregions = [\"here\"]\n"
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let config = meridian::load::read(&file).expect("it is valid");
    let app = runtime
        .block_on(App::start(config, file))
        .expect("it starts");
    runtime.block_on(async {
        let mut revisions = app.board().revisions();
        while app.board().live().snapshot.serving.is_empty() {
            revisions.changed().await.expect("the board lives");
        }
    });
    for (name, address) in [("origin", origin), ("proxy", app.addresses()[0])] {
        let mut sender = runtime.block_on(connect(address));
        criterion.bench_function(&format!("loopback/{name}"), |bencher| {
            bencher.iter(|| runtime.block_on(get(&mut sender)));
        });
    }
}

/// An origin that answers everything with 512 bytes.
async fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = service_fn(|_| async {
                let body = Full::new(Bytes::from_static(&[b'x'; 512]));
                Ok::<_, Infallible>(Response::new(body))
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

async fn connect(address: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    stream.set_nodelay(true).expect("it is a socket");
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .expect("it is open");
    tokio::spawn(connection);
    sender
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>) {
    let request = Request::get("/")
        .header("host", "bench.example")
        .body(Empty::new());
    sender.ready().await.expect("it is open");
    let response = sender
        .send_request(request.expect("it is valid"))
        .await
        .expect("an answer");
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.expect("it is whole");
    assert_eq!(body.to_bytes().len(), 512);
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
}

criterion_group!(name = benches; config = quick(); targets = round_trip);
criterion_main!(benches);
