//! A residency line is not crossed by writing the host or the path in another way.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::client::{get, raw};
use crate::support::edge::Edge;
use crate::support::origin::FakeOrigin;

/// A proxy that sends all to `open`, but Germans to `bound` under this match.
async fn bound_under(matched: &str) -> (FakeOrigin, FakeOrigin, Edge) {
    let open = FakeOrigin::start("open").await;
    let bound = FakeOrigin::start("bound").await;
    let text = Edge::text(&[("open", &open.url()), ("bound", &bound.url())], "")
        .replace("regions = [\"open\", \"bound\"]", "regions = [\"open\"]");
    let route = format!(
        "[[route]]\nname = \"bound\"\n{matched}\nregions = [\"open\", \"bound\"]\n\
         policy = \"failover\"\n[route.residency]\nDE = [\"bound\"]\n"
    );
    let edge = Edge::start(&format!("{text}{route}")).await;
    edge.resolved().await;
    (open, bound, edge)
}

fn german(target: &str, host: &[u8]) -> Vec<u8> {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: ").into_bytes();
    request.extend(host);
    request.extend(b"\r\nCloudFront-Viewer-Country: DE\r\nConnection: close\r\n\r\n");
    request
}

#[tokio::test]
async fn a_host_that_is_none_is_refused_and_reaches_no_origin() {
    let (open, bound, edge) = bound_under("host = \"secret.test\"\npath = \"/\"").await;
    let hosts = [
        &b"user@secret.test"[..],
        b"u:p@secret.test",
        b"secret.test,",
        b"secret.test/",
        b"secret.test?",
        b"secret.test@evil",
        b"[secret.test]",
        b"secret%2etest",
        b"secret\xff.test",
        b"",
    ];
    for host in hosts {
        let shown = String::from_utf8_lossy(host);
        let answer = raw(edge.address, &german("/w", host)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{shown}: {answer}");
        let answer = raw(edge.address, &german("http://a.test/w", host)).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{shown}: {answer}");
    }
    assert!(open.seen().is_empty() && bound.seen().is_empty());
}

#[tokio::test]
async fn other_ways_to_write_a_host_lead_to_its_route() {
    let (open, bound, edge) = bound_under("host = \"secret.test\"\npath = \"/\"").await;
    let hosts = [
        "secret.test",
        "SECRET.test:80",
        "secret.test.",
        "secret.test..",
        "secret.test:",
    ];
    for host in hosts {
        let answer = raw(edge.address, &german("/w", host.as_bytes())).await;
        assert!(answer.ends_with("bound"), "{host}: {answer}");
        let target = format!("http://{host}/w");
        let answer = raw(edge.address, &german(&target, b"other.test")).await;
        assert!(answer.ends_with("bound"), "{host}: {answer}");
    }
    assert!(open.seen().is_empty());
    assert_eq!(bound.seen().len(), 2 * hosts.len());
}

#[tokio::test]
async fn a_target_that_names_no_resource_of_http_is_refused() {
    let (open, bound, edge) = bound_under("host = \"secret.test\"\npath = \"/\"").await;
    for target in [
        "http://user@secret.test/w",
        "http://secret%2etest/w",
        "ftp://secret.test/w",
        "w",
        "secret.test:80",
    ] {
        let answer = raw(edge.address, &german(target, b"secret.test")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert!(open.seen().is_empty() && bound.seen().is_empty());
}

/// The head of `GET / HTTP/2` with this scheme and authority, in HPACK without Huffman's code (RFC
/// 7541, appendix A: `:scheme` is 6, `:authority` 1).
fn http2_get(scheme: &str, authority: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x84];
    for (index, value) in [(6, scheme), (1, authority)] {
        head.push(index);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0".to_vec();
    bytes.push(u8::try_from(head.len()).unwrap());
    bytes.extend(b"\x01\x05\0\0\0\x01");
    bytes.extend(head);
    bytes
}

#[tokio::test]
async fn http2_viewers_are_held_to_the_same_hosts_and_schemes() {
    let (open, bound, edge) = bound_under("host = \"secret.test\"\npath = \"/\"").await;
    for (scheme, authority) in [
        ("http", "user@secret.test"),
        ("http", "secret%2etest"),
        ("ftp", "secret.test"),
    ] {
        let mut stream = TcpStream::connect(edge.address).await.unwrap();
        stream
            .write_all(&http2_get(scheme, authority))
            .await
            .unwrap();
        // Until the answer's head, or the reset of the stream.
        let kind = loop {
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.unwrap();
            let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if frame[3] == 1 || frame[3] == 3 {
                break (frame[3], payload);
            }
        };
        // `:status 400` is 12 in the static table.
        assert!(
            kind.0 == 3 || kind.1[0] == 0x8c,
            "{scheme} {authority}: {kind:?}"
        );
    }
    assert!(open.seen().is_empty() && bound.seen().is_empty());
    assert_eq!(get(edge.address, "/", &[]).await.status, 200);
}

#[tokio::test]
async fn a_path_with_backslashes_does_not_dodge_its_route() {
    let (open, bound, edge) = bound_under("path = \"/eu\"").await;
    for target in ["/%5ceu", "/\\eu", "/x/..%2feu", "/eu\\x"] {
        let answer = raw(edge.address, &german(target, b"a.test")).await;
        assert!(answer.ends_with("bound"), "{target}: {answer}");
    }
    for target in ["/x/..\\eu", "/x/..;/eu", "/eu/..;/x", "/eu/..%5cx"] {
        let answer = raw(edge.address, &german(target, b"a.test")).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{target}: {answer}");
    }
    assert!(open.seen().is_empty());
    assert_eq!(bound.seen().len(), 4);
}
