//! Simulated regions over sockets, and what each fault makes of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use meridian::demo::download::{self, ETAG, LENGTH};
use meridian::demo::fault::Fault;
use meridian::demo::region::RegionSpec;
use meridian::demo::{Regions, default_regions};

use super::{PATIENCE, request, request_with};

/// A region that says nothing for so long will not say anything soon: it answers at once else.
const SILENCE: Duration = Duration::from_millis(150);

/// A region with one endpoint.
fn region() -> (Regions, SocketAddr) {
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 0)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
    (regions, address)
}

/// A region with this fault.
fn region_with(fault: Fault) -> (Regions, SocketAddr) {
    let (regions, address) = region();
    regions.set("eu-west-1", fault).unwrap();
    (regions, address)
}

fn endpoints(regions: &Regions) -> Vec<SocketAddr> {
    let ports = regions.all()[0].ports().iter();
    ports
        .map(|port| SocketAddr::from(([127, 0, 0, 1], *port)))
        .collect()
}

fn status(address: SocketAddr, head: &str) -> u16 {
    let answer = request(address, head, "").unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A connection on which this was asked.
fn asked(address: SocketAddr, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{head} HTTP/1.1\r\nHost: demo\r\n\r\n").unwrap();
    stream
}

/// Whether nothing (more) comes.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let end = stream.read(&mut [0]);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    end.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Reads up to the end of the head.
fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn length(head: &str) -> usize {
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_region_answers_with_its_name_and_what_it_received() {
    let (_regions, address) = region();
    let answer = request(address, "POST /a?b=c", "twelve bytes").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("x-demo-region: eu-west-1\r\n"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["path"], "/a?b=c");
    assert_eq!(body["method"], "POST");
    assert_eq!(body["received_bytes"], 12);
    let health = request(address, "GET /health", "").unwrap();
    assert!(health.contains("\"replication_lag_seconds\":0"), "{health}");
}

#[test]
fn a_gray_region_passes_its_health_check_and_nothing_else() {
    let (regions, address) = region();
    regions.set("eu-west-1", Fault::Gray).unwrap();
    assert!(
        request(address, "GET /health", "")
            .unwrap()
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(
        request(address, "GET /", "")
            .unwrap()
            .starts_with("HTTP/1.1 503 ")
    );
    regions.set("eu-west-1", Fault::None).unwrap();
    assert!(
        request(address, "GET /", "")
            .unwrap()
            .starts_with("HTTP/1.1 200 ")
    );
}

#[test]
fn a_failed_region_resets_what_is_open_and_refuses_what_comes_until_it_is_healed() {
    let (regions, address) = region();
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(PATIENCE)).unwrap();
    open.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
        .unwrap();
    let mut first = [0; 12];
    open.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    regions.set("eu-west-1", Fault::Fail).unwrap();
    // Once the open connection is gone the listener is too: both see the fault at once, but
    // either may act first, so the refusal is waited for.
    let mut rest = Vec::new();
    let reset = open.read_to_end(&mut rest).unwrap_err();
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);
    let refused = std::iter::repeat_with(|| request(address, "GET /", ""))
        .take(10_000)
        .find_map(|result| {
            let error = result.err()?;
            (error.kind() == std::io::ErrorKind::ConnectionRefused).then_some(())
        });
    assert!(refused.is_some(), "it still accepts");
    regions.set("eu-west-1", Fault::None).unwrap();
    let healed = std::iter::repeat_with(|| request(address, "GET /", ""))
        .take(100_000)
        .find_map(Result::ok);
    assert!(healed.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
}

#[test]
fn a_hanging_region_accepts_and_answers_only_once_it_is_healed() {
    let (regions, address) = region();
    regions.set("eu-west-1", Fault::Hang).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: demo\r\n\r\n")
        .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut first = [0; 12];
    let silence = stream.read_exact(&mut first).unwrap_err().kind();
    assert!(
        matches!(
            silence,
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{silence:?}"
    );
    regions.set("eu-west-1", Fault::None).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}

#[test]
fn a_region_frees_its_port_when_it_is_dropped() {
    let regions = Regions::start(&default_regions()).unwrap();
    let address = regions.address("ap-southeast-1").unwrap();
    assert!(regions.address("mars").is_none());
    drop(regions);
    std::net::TcpListener::bind(address).unwrap();
}

#[test]
fn an_unavailable_region_fails_its_health_check_too() {
    let (_regions, address) = region_with(Fault::Unavailable);
    assert_eq!(status(address, "GET /health"), 503);
    assert_eq!(status(address, "GET /"), 503);
}

#[test]
fn a_flaky_region_fails_every_second_request_but_no_health_check() {
    let (_regions, address) = region_with(Fault::Flaky);
    let statuses: Vec<_> = (0..4).map(|_| status(address, "GET /")).collect();
    assert_eq!(statuses, [503, 200, 503, 200]);
    assert!((0..3).all(|_| status(address, "GET /health") == 200));
}

#[test]
fn a_slow_region_is_late_with_all_but_its_health_check() {
    let (_regions, address) = region_with(Fault::Slow);
    assert_eq!(status(address, "GET /health"), 200);
    assert!(is_silent(&mut asked(address, "GET /")));
}

#[test]
fn a_page_below_missing_is_nowhere_and_a_batch_takes_long_while_all_is_well() {
    let (_regions, address) = region();
    assert_eq!(status(address, "GET /missing/7"), 404);
    assert!(is_silent(&mut asked(address, "POST /batch")));
    assert_eq!(status(address, "GET /"), 200);
}

#[test]
fn a_resetting_region_accepts_and_reads_before_it_resets() {
    let (_regions, address) = region_with(Fault::Reset);
    for head in ["GET /", "GET /health", "POST /"] {
        let reset = request(address, head, "").unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{head}");
    }
}

#[test]
fn half_a_body_is_sent_and_the_rest_only_once_the_region_is_healed() {
    let (regions, address) = region_with(Fault::Half);
    assert_eq!(status(address, "GET /health"), 200);
    let mut stream = asked(address, "GET /");
    let whole = length(&head(&mut stream));
    let mut body = vec![0; whole / 2];
    stream.read_exact(&mut body).unwrap();
    assert!(is_silent(&mut stream));
    regions.set("eu-west-1", Fault::None).unwrap();
    body.resize(whole, 0);
    stream.read_exact(&mut body[whole / 2..]).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["region"], "eu-west-1");
}

#[test]
fn connects_to_a_black_hole_go_unanswered_and_open_connections_fall_silent() {
    let (regions, address) = region();
    let mut open = asked(address, "HEAD /");
    // So that it has been accepted.
    assert!(head(&mut open).starts_with("HTTP/1.1 200 "));
    regions.set("eu-west-1", Fault::Blackhole).unwrap();
    // The queue fills up within a moment of the fault.
    let unanswered = std::iter::repeat_with(|| TcpStream::connect_timeout(&address, SILENCE))
        .take(100_000)
        .find_map(|connect| {
            connect
                .err()
                .filter(|error| error.kind() == ErrorKind::TimedOut)
        });
    assert!(unanswered.is_some(), "it still accepts");
    open.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\n\r\n")
        .unwrap();
    assert!(is_silent(&mut open));
    regions.set("eu-west-1", Fault::None).unwrap();
    assert!(head(&mut open).starts_with("HTTP/1.1 200 "));
    let healed = std::iter::repeat_with(|| request(address, "GET /", ""))
        .take(100_000)
        .find_map(Result::ok);
    assert!(healed.is_some_and(|answer| answer.starts_with("HTTP/1.1 200 ")));
}

#[test]
fn a_region_with_too_much_to_do_says_when_to_come_back() {
    let (regions, address) = region_with(Fault::Overload);
    let answer = request(address, "GET /health", "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 5\r\n"));
    regions.set("eu-west-1", Fault::Throttle).unwrap();
    let answer = request(address, "GET /", "").unwrap();
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 5\r\n"));
    assert_eq!(status(address, "GET /health"), 200);
}

#[test]
fn a_foreign_region_does_not_name_itself() {
    let (_regions, address) = region_with(Fault::Foreign);
    for head in ["GET /", "GET /health"] {
        let answer = request(address, head, "").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains("another-region") && !answer.contains("eu-west-1"),
            "{answer}"
        );
    }
}

#[test]
fn a_lossy_region_answers_two_health_checks_of_three_and_every_request() {
    let (_regions, address) = region_with(Fault::Lossy);
    for _ in 0..2 {
        assert!(is_silent(&mut asked(address, "GET /health")));
        assert_eq!(status(address, "GET /health"), 200);
        assert_eq!(status(address, "GET /"), 200);
        assert_eq!(status(address, "GET /health"), 200);
    }
}

#[test]
fn probes_that_come_in_turns_are_lost_at_every_endpoint_alike() {
    let regions = Regions::start(&[RegionSpec::with_endpoints("eu-west-1", 0, 3)]).unwrap();
    regions.set("eu-west-1", Fault::Lossy).unwrap();
    let endpoints = endpoints(&regions);
    for one in &endpoints {
        assert!(is_silent(&mut asked(*one, "GET /health")));
    }
    for _ in 0..2 {
        assert!(
            endpoints
                .iter()
                .all(|one| status(*one, "GET /health") == 200)
        );
    }
}

#[test]
fn a_cold_region_takes_ten_times_as_long() {
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 30)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
    regions.set("eu-west-1", Fault::Cold).unwrap();
    let mut late = asked(address, "GET /");
    assert!(is_silent(&mut late));
    assert!(head(&mut late).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_fault_of_an_endpoint_is_seen_at_the_first_one_only() {
    let regions = Regions::start(&[RegionSpec::with_endpoints("eu-west-1", 0, 3)]).unwrap();
    let endpoints = endpoints(&regions);
    let others_are_well = || {
        endpoints[1..]
            .iter()
            .all(|one| status(*one, "GET /") == 200)
    };
    regions.set("eu-west-1", Fault::EndpointGray).unwrap();
    assert_eq!(status(endpoints[0], "GET /health"), 200);
    assert_eq!(status(endpoints[0], "GET /"), 503);
    assert!(others_are_well());
    regions.set("eu-west-1", Fault::EndpointSlow).unwrap();
    assert!(is_silent(&mut asked(endpoints[0], "GET /")));
    assert!(others_are_well());
    regions.set("eu-west-1", Fault::EndpointFail).unwrap();
    let refused = std::iter::repeat_with(|| TcpStream::connect(endpoints[0]))
        .take(10_000)
        .find_map(Result::err);
    assert!(refused.is_some(), "it still accepts");
    assert!(others_are_well());
}

#[test]
fn a_deploy_begins_with_the_first_endpoint_and_the_others_serve() {
    let regions = Regions::start(&[RegionSpec::with_endpoints("eu-west-1", 0, 3)]).unwrap();
    let endpoints = endpoints(&regions);
    // So that it listens by itself.
    assert_eq!(status(endpoints[0], "GET /"), 200);
    regions.set("eu-west-1", Fault::Deploy).unwrap();
    let refused = std::iter::repeat_with(|| TcpStream::connect(endpoints[0]))
        .take(10_000)
        .find_map(Result::err);
    assert!(refused.is_some(), "it still accepts");
    assert_eq!(status(endpoints[1], "GET /"), 200);
}

#[test]
fn the_download_is_the_same_in_every_region_and_takes_ranges() {
    let regions = Regions::start(&default_regions()).unwrap();
    for region in regions.all() {
        let address = regions.address(region.name()).unwrap();
        let head = request(address, "HEAD /download", "").unwrap();
        assert!(
            head.contains(&format!("content-length: {LENGTH}\r\n")),
            "{head}"
        );
        assert!(head.contains(&format!("etag: {ETAG}\r\n")), "{head}");
        assert!(head.contains("accept-ranges: bytes\r\n"), "{head}");
        let range = format!("Range: bytes=25000001-25000040\r\nIf-Range: {ETAG}\r\n");
        let part = request_with(address, "GET /download", &range, "").unwrap();
        let (head, body) = part.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
        let covers = format!("content-range: bytes 25000001-25000040/{LENGTH}\r\n");
        assert!(head.contains(&covers), "{head}");
        assert_eq!(body.as_bytes(), download::bytes(25_000_001, 25_000_041));
    }
    let address = regions.address("us-east-1").unwrap();
    let beyond = format!("Range: bytes={LENGTH}-\r\n");
    let refused = request_with(address, "GET /download", &beyond, "").unwrap();
    assert!(refused.starts_with("HTTP/1.1 416 "), "{refused}");
}

#[test]
fn a_download_that_is_cut_breaks_in_its_middle_and_its_rest_can_be_had_elsewhere() {
    let specs = [
        RegionSpec::new("eu-west-1", 0),
        RegionSpec::new("us-east-1", 0),
    ];
    let regions = Regions::start(&specs).unwrap();
    let address = regions.address("eu-west-1").unwrap();
    regions.set("eu-west-1", Fault::Cut).unwrap();
    assert_eq!(status(address, "GET /"), 200);
    let mut stream = asked(address, "GET /download");
    assert_eq!(length(&head(&mut stream)) as u64, LENGTH);
    let mut body = Vec::new();
    let end = stream.read_to_end(&mut body);
    assert!(end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert!(
        !body.is_empty() && body.len() as u64 <= LENGTH / 2,
        "{}",
        body.len()
    );
    let range = format!("Range: bytes={}-\r\nIf-Range: {ETAG}\r\n", body.len());
    let other = regions.address("us-east-1").unwrap();
    let rest = request_with(other, "GET /download", &range, "").unwrap();
    let (_, rest) = rest.split_once("\r\n\r\n").unwrap();
    body.extend_from_slice(rest.as_bytes());
    assert!(body == download::bytes(0, LENGTH), "{} bytes", body.len());
}

#[test]
fn a_download_that_stalls_stands_still_in_its_middle_until_the_region_is_healed() {
    let (regions, address) = region_with(Fault::Stall);
    assert_eq!(status(address, "GET /"), 200);
    let mut stream = asked(address, "GET /download");
    let whole = length(&head(&mut stream));
    let mut body = vec![0; whole / 2];
    stream.read_exact(&mut body).unwrap();
    assert!(is_silent(&mut stream));
    regions.set("eu-west-1", Fault::None).unwrap();
    body.resize(whole, 0);
    stream.read_exact(&mut body[whole / 2..]).unwrap();
    assert!(body == download::bytes(0, LENGTH));
}
