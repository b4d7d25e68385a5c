//! Viewers' TLS over real sockets: which certificate they see, what is agreed, whom we refuse.

mod files;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use meridian::edge::handshake::{HandshakeFailure, handshake};
use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, ServerConfig, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::support::authority::{
    Authority, file_of, hello, params, serve, tls, viewer_certificate,
};

type ServerStream = tokio_rustls::server::TlsStream<TcpStream>;
type ViewerStream = tokio_rustls::client::TlsStream<TcpStream>;

const LIMIT: Duration = Duration::from_secs(5);

/// One connection, both sides of it. The server sends a byte after the handshake, so that a
/// viewer whose side succeeded has also read the tickets or the refusal behind it.
async fn meet(
    server: &Arc<ServerConfig>,
    viewer: &Arc<ClientConfig>,
    name: &str,
) -> (
    Result<Box<ServerStream>, HandshakeFailure>,
    io::Result<ViewerStream>,
) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let accept = async {
        let (socket, _) = listener.accept().await.unwrap();
        let deadline = Instant::now() + LIMIT;
        let mut stream = handshake(Arc::clone(server), socket, deadline).await?;
        // A viewer that refused us does not read it, which is not what is tested.
        let _ = stream.write_all(b"!").await;
        let _ = stream.flush().await;
        Ok(stream)
    };
    let connect = async {
        let socket = TcpStream::connect(address).await?;
        let connector = TlsConnector::from(Arc::clone(viewer));
        let mut stream = connector.connect(name, socket).await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    tokio::join!(accept, connect)
}

/// One connection that both sides agree on.
async fn meet_well(
    server: &Arc<ServerConfig>,
    viewer: &Arc<ClientConfig>,
    name: &str,
) -> (Box<ServerStream>, ViewerStream) {
    let (server, viewer) = meet(server, viewer, name).await;
    (server.unwrap(), viewer.unwrap())
}

/// Which file's certificate a viewer asking for `name` is shown.
async fn file_shown(authority: &Authority, server: &Arc<ServerConfig>, name: &str) -> String {
    let (_, viewer) = meet_well(server, &authority.viewer().build(), name).await;
    let shown = viewer.get_ref().1.peer_certificates().unwrap()[0].clone();
    file_of(authority, &shown)
}

#[tokio::test]
async fn the_name_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    let server = serve(&tls(&[
        authority.certificate("default", &["default.test", "127.0.0.1"]),
        authority.certificate("wildcard", &["*.shop.test"]),
        authority.certificate("exact", &["API.shop.test", "other.test"]),
    ]));
    for (name, certificate) in [
        ("default.test", "default"),
        ("api.shop.test", "exact"),
        ("Api.Shop.Test", "exact"),
        ("other.test", "exact"),
        ("eu.shop.test", "wildcard"),
        // An address is never asked for by name.
        ("127.0.0.1", "default"),
    ] {
        let shown = file_shown(&authority, &server, name).await;
        assert_eq!(shown, certificate, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_name_gets_the_first_certificate() {
    let authority = Authority::new();
    let server = serve(&tls(&[
        authority.certificate("default", &["default.test"]),
        authority.certificate("wildcard", &["*.shop.test"]),
    ]));
    for name in ["unknown.test", "shop.test", "a.b.shop.test"] {
        let (failure, error) = meet(&server, &authority.viewer().build(), name).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("default.test"), "{name}: {error}");
        assert_eq!(failure.unwrap_err(), HandshakeFailure::Alert, "{name}");
    }
}

#[tokio::test]
async fn of_two_certificates_for_a_name_the_viewer_gets_one_it_can_verify() {
    let authority = Authority::new();
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let server = serve(&tls(&[
        authority.certificate("ecdsa", &["api.test"]),
        authority.certified("rsa", &params(&["api.test"]), &rsa),
    ]));
    assert_eq!(file_shown(&authority, &server, "api.test").await, "ecdsa");

    let mut old = authority.viewer();
    old.versions = vec![&version::TLS12];
    old.provider.cipher_suites.retain(|suite| {
        let name = suite.suite().as_str().unwrap_or_default();
        name.contains("_RSA_")
    });
    let (_, viewer) = meet_well(&server, &old.build(), "api.test").await;
    let shown = viewer.get_ref().1.peer_certificates().unwrap();
    assert_eq!(file_of(&authority, &shown[0]), "rsa");
}

#[tokio::test]
async fn both_versions_of_tls_are_spoken() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    for (version, agreed) in [
        (&version::TLS12, ProtocolVersion::TLSv1_2),
        (&version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut viewer = authority.viewer();
        viewer.versions = vec![version];
        let (server, _) = meet_well(&server, &viewer.build(), "api.test").await;
        assert_eq!(server.get_ref().1.protocol_version(), Some(agreed));
    }
}

#[tokio::test]
async fn http2_is_preferred_and_a_viewer_without_alpn_is_served() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let cases: [(&[&str], Option<&[u8]>); 4] = [
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&[], None),
    ];
    for (offered, agreed) in cases {
        let mut viewer = authority.viewer();
        viewer.alpn = offered;
        let (server, _) = meet_well(&server, &viewer.build(), "api.test").await;
        assert_eq!(server.get_ref().1.alpn_protocol(), agreed, "{offered:?}");
    }
    let mut stranger = authority.viewer();
    stranger.alpn = &["smtp"];
    let (failure, _) = meet(&server, &stranger.build(), "api.test").await;
    assert_eq!(failure.unwrap_err(), HandshakeFailure::Protocol);
}

#[tokio::test]
async fn the_post_quantum_group_is_agreed_on_by_default() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let classic = aws_lc_rs::kx_group::X25519;
    let mut viewer_of_old = authority.viewer();
    viewer_of_old.provider.kx_groups = vec![classic];
    for (viewer, group) in [
        (authority.viewer(), NamedGroup::X25519MLKEM768),
        (viewer_of_old, NamedGroup::X25519),
    ] {
        let (server, _) = meet_well(&server, &viewer.build(), "api.test").await;
        let agreed = server.get_ref().1.negotiated_key_exchange_group();
        assert_eq!(agreed.unwrap().name(), group);
    }
}

#[tokio::test]
async fn a_second_connection_resumes_the_session() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    for version in [&version::TLS12, &version::TLS13] {
        let mut viewer = authority.viewer();
        viewer.versions = vec![version];
        let viewer = viewer.build();
        let (first, _) = meet_well(&server, &viewer, "api.test").await;
        assert_eq!(
            first.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full)
        );
        let (second, _) = meet_well(&server, &viewer, "api.test").await;
        let kind = second.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[tokio::test]
async fn a_ticket_of_another_configuration_makes_a_full_handshake() {
    let authority = Authority::new();
    let tls = tls(&[authority.certificate("api", &["api.test"])]);
    let viewer = authority.viewer().build();
    meet_well(&serve(&tls), &viewer, "api.test").await;
    let (second, _) = meet_well(&serve(&tls), &viewer, "api.test").await;
    assert_eq!(
        second.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
}

#[tokio::test]
async fn a_viewer_must_show_a_certificate_where_one_is_required() {
    let authority = Authority::new();
    let certificate = authority.certificate("api", &["api.test"]);
    let server = serve(&authority.for_viewers(&[certificate]));
    for version in [&version::TLS12, &version::TLS13] {
        let shows = |issuer: Option<&Authority>| {
            let mut viewer = authority.viewer();
            viewer.versions = vec![version];
            viewer.certificate = issuer.map(viewer_certificate);
            viewer.build()
        };
        let (without, refused) = meet(&server, &shows(None), "api.test").await;
        assert_eq!(without.unwrap_err(), HandshakeFailure::ViewerCertificate);
        assert!(refused.is_err());

        let stranger = Authority::new();
        let (strange, refused) = meet(&server, &shows(Some(&stranger)), "api.test").await;
        assert_eq!(strange.unwrap_err(), HandshakeFailure::ViewerCertificate);
        assert!(refused.is_err());

        let (served, _) = meet_well(&server, &shows(Some(&authority)), "api.test").await;
        assert_eq!(served.get_ref().1.peer_certificates().unwrap().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_says_nothing_is_left_at_the_deadline() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let (_silent, near) = tokio::io::duplex(1024);
    let deadline = Instant::now() + LIMIT;
    let outcome = handshake(server, near, deadline).await;
    assert_eq!(outcome.unwrap_err(), HandshakeFailure::Timeout);
    assert_eq!(Instant::now(), deadline);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_drips_its_hello_is_left_at_the_deadline() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let hello = hello(&authority);
    let (mut viewer, near) = tokio::io::duplex(1024);
    let deadline = Instant::now() + LIMIT;
    let drip = async {
        for byte in hello {
            if viewer.write_u8(byte).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (outcome, ()) = tokio::join!(
        async {
            let outcome = handshake(server, near, deadline).await;
            (outcome.map(|_| ()), Instant::now())
        },
        drip
    );
    assert_eq!(outcome, (Err(HandshakeFailure::Timeout), deadline));
}

#[tokio::test]
async fn what_is_no_tls_ends_at_once() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let request = b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n";
    assert_eq!(
        refusal(&server, request).await,
        Some(HandshakeFailure::NotTls)
    );
    assert_eq!(refusal(&server, b"").await, Some(HandshakeFailure::Closed));
    let hello = hello(&authority);
    assert_eq!(
        refusal(&server, &hello[..hello.len() / 2]).await,
        Some(HandshakeFailure::Closed)
    );
}

#[tokio::test]
async fn no_damaged_hello_gets_a_session_or_hangs() {
    let authority = Authority::new();
    let server = serve(&tls(&[authority.certificate("api", &["api.test"])]));
    let hello = hello(&authority);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..300 {
        let mut damaged = hello.clone();
        for _ in 0..random.usize(1..6) {
            let place = random.usize(..damaged.len());
            damaged[place] = random.u8(..);
        }
        damaged.truncate(random.usize(1..=damaged.len()));
        let failure = refusal(&server, &damaged).await;
        assert!(failure.is_some_and(|f| f != HandshakeFailure::Timeout));
    }
}

/// How the handshake fails with a viewer that sends `bytes` and leaves.
async fn refusal(server: &Arc<ServerConfig>, bytes: &[u8]) -> Option<HandshakeFailure> {
    let (mut viewer, near) = tokio::io::duplex(64 * 1024);
    viewer.write_all(bytes).await.unwrap();
    drop(viewer);
    let deadline = Instant::now() + LIMIT;
    handshake(Arc::clone(server), near, deadline).await.err()
}
