//! The demo: its simulated regions, and the program that runs them behind a proxy.

mod regions;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use meridian::demo::fault::Fault;
use serde_json::Value;

use crate::cli::{meridian, run};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// One request on a connection of its own; the whole answer, or how the connection ended.
fn request(address: SocketAddr, head: &str, body: &str) -> std::io::Result<String> {
    request_with(address, head, "", body)
}

/// The same with more header lines, each ended.
fn request_with(
    address: SocketAddr,
    head: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        stream,
        "{head} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A running `meridian demo` on free ports, told to end when dropped.
struct RunningDemo {
    child: Child,
    /// What it printed once it served.
    welcome: String,
}

impl RunningDemo {
    fn start(folder: &Path) -> Self {
        let ports = "--http-port 0 --https-port 0 --admin-port 0 --control-port 0 --region-port 0";
        let mut child = meridian(folder, &format!("demo {ports}"))
            .env("TMPDIR", folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut welcome = String::new();
        while !welcome.contains("Ctrl-C ends everything.") {
            let line = lines
                .next()
                .expect("the demo ended before it served")
                .unwrap();
            let _ = writeln!(welcome, "{line}");
        }
        Self { child, welcome }
    }

    /// The rest of the first word that begins with `prefix`.
    fn word_after(&self, prefix: &str) -> &str {
        let mut words = self.welcome.split_whitespace();
        words.find_map(|word| word.strip_prefix(prefix)).unwrap()
    }

    fn http(&self) -> SocketAddr {
        let port = self.word_after("http://localhost:").trim_end_matches('/');
        format!("127.0.0.1:{port}").parse().unwrap()
    }

    /// The value of a flag in the commands to paste.
    fn flag(&self, name: &str) -> String {
        let mut words = self.welcome.split_whitespace();
        words.find(|word| *word == name).unwrap();
        format!("{name} {}", words.next().unwrap())
    }

    /// Asks the proxy until the region that answers is the wanted one.
    fn wait_for_region(&self, country: &str, wanted: &str) {
        let field = format!("x-demo-region: {wanted}");
        let header = format!("CloudFront-Viewer-Country: {country}\r\n");
        let mut last = String::new();
        for _ in 0..2_000 {
            last = request_with(self.http(), "GET /", &header, "").unwrap();
            assert!(last.starts_with("HTTP/1.1 200 "), "{last}");
            if last.to_ascii_lowercase().contains(&field) {
                return;
            }
        }
        panic!("{country} never went to {wanted}: {last}");
    }
}

impl Drop for RunningDemo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_serves_fails_over_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    demo.wait_for_region("JP", "ap-southeast-1");
    demo.wait_for_region("DE", "eu-west-1");
    let control = demo.flag("--control");
    let unknown = run(&format!("demo fail mars {control}"));
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("eu-west-1"), "{}", unknown.err);
    assert_eq!(run(&format!("demo fail eu-west-1 {control}")).code, 0);
    // Not one request fails on the way.
    demo.wait_for_region("DE", "us-east-1");
    assert_eq!(run(&format!("demo heal eu-west-1 {control}")).code, 0);
    demo.wait_for_region("DE", "eu-west-1");
    let admin = demo.flag("--admin");
    let status = run(&format!("status {admin}"));
    assert!(
        status.out.contains("ap-southeast-1"),
        "{}{}",
        status.out,
        status.err
    );
    let explained = run(&format!("explain --live --country BR {admin}"));
    assert_eq!(explained.code, 0, "{}", explained.err);
}

/// A running `meridian demo watch`, told to end when dropped.
struct RunningWatch {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl RunningWatch {
    fn start(demo: &RunningDemo, folder: &Path) -> Self {
        let control = demo.flag("--control");
        let mut child = meridian(folder, &format!("demo watch -o json {control}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that tells of this.
    fn wait_for(&mut self, what: &str) -> Value {
        let mut objects = self.lines.by_ref().map(|line| object(&line.unwrap()));
        objects.find(|object| object["what"] == what).unwrap()[what].take()
    }
}

impl Drop for RunningWatch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// What a watch of one second says of its seconds and in all.
fn watched(demo: &RunningDemo, flags: &str) -> (Vec<Value>, Value) {
    watched_as(demo, "watch", flags)
}

/// The same of any stream of requests.
fn watched_as(demo: &RunningDemo, word: &str, flags: &str) -> (Vec<Value>, Value) {
    let control = demo.flag("--control");
    let watch = run(&format!("demo {word} --for 1s -o json {flags} {control}"));
    assert_eq!(watch.code, 0, "{}", watch.err);
    let objects: Vec<_> = watch.out.lines().map(object).collect();
    let told = |what: &'static str| {
        let found = objects.iter().filter(move |object| object["what"] == what);
        found.map(move |object| object[what].clone())
    };
    (
        told("second").collect(),
        told("summary").next_back().unwrap(),
    )
}

fn total(seconds: &[Value], field: &str) -> u64 {
    seconds
        .iter()
        .filter_map(|second| second[field].as_u64())
        .sum()
}

#[test]
fn a_watch_counts_every_request_once_by_method_by_region_and_by_loss() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    let (seconds, all) = watched(&demo, "--rate 50");
    assert_eq!(all["get"]["sent"], 40);
    assert_eq!(all["post"]["sent"], 10);
    assert_eq!(all["waiting"], 0);
    assert_eq!(
        (&all["get"]["lost"], &all["post"]["lost"]),
        (&0.into(), &0.into()),
        "{all}"
    );
    let regions = all["regions"].as_object().unwrap().values();
    assert_eq!(regions.filter_map(Value::as_u64).sum::<u64>(), 50);
    assert_eq!(total(&seconds, "answered"), 50);
    // Nothing answers more quickly than the nearest region.
    assert!(all["get"]["longest_wait_seconds"].as_f64().unwrap() >= 0.005);

    // Europe's records stay there, so that all are lost while it is down.
    let control = demo.flag("--control");
    assert_eq!(run(&format!("demo fail eu-west-1 {control}")).code, 0);
    let (seconds, all) = watched(&demo, "--rate 20 --country DE --path /records/7");
    assert_eq!(
        (&all["get"]["lost"], &all["post"]["lost"]),
        (&16.into(), &4.into()),
        "{all}"
    );
    assert_eq!(total(&seconds, "lost"), 20);
    let losses = all["losses"].as_object().unwrap();
    assert!(
        losses
            .keys()
            .any(|kind| kind.starts_with("GET 502 meridian;error=")),
        "{all}"
    );
}

#[test]
fn a_crawler_gets_what_it_asks_for_and_a_batch_waits_and_neither_loses_anything() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    let (_, crawl) = watched_as(&demo, "crawl", "");
    assert_eq!(
        (&crawl["get"]["sent"], &crawl["get"]["lost"]),
        (&20.into(), &0.into()),
        "{crawl}"
    );
    let (_, batch) = watched_as(&demo, "batch", "");
    assert_eq!(
        (&batch["post"]["sent"], &batch["post"]["lost"]),
        (&20.into(), &0.into()),
        "{batch}"
    );
    let waited = &batch["post"]["longest_wait_seconds"];
    assert!(waited.as_f64().unwrap() >= 2.0, "{batch}");
}

#[test]
fn a_watch_tells_of_changes_of_belief_and_ends_with_a_summary_when_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    let mut watch = RunningWatch::start(&demo, folder.path());
    watch.wait_for("second");
    let control = demo.flag("--control");
    let faulted = run(&format!(
        "demo unavailable us-east-1 ap-southeast-1 {control}"
    ));
    assert_eq!(faulted.code, 0, "{}", faulted.err);
    assert_eq!(faulted.err.lines().count(), 2, "{}", faulted.err);
    let belief = watch.wait_for("transition");
    assert_ne!(belief["region"], "eu-west-1", "{belief}");
    let pid = rustix::process::Pid::from_child(&watch.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(watch.wait_for("summary")["get"]["sent"].as_u64() > Some(0));
    assert!(watch.child.wait().unwrap().success());
}

#[test]
fn a_watch_ends_quietly_when_its_reader_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    let control = demo.flag("--control");
    let mut child = meridian(folder.path(), &format!("demo watch -q {control}"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(said, "");
}

#[test]
fn a_watch_without_a_demo_says_so() {
    let refused = run("demo watch --for 1s --control http://127.0.0.1:1");
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("127.0.0.1:1"), "{}", refused.err);
    assert_eq!(run("demo watch --for 20").code, 2);
    assert_eq!(run("demo fail").code, 2);
}

#[test]
fn the_demos_help_and_its_control_list_the_same_faults() {
    let folder = tempfile::tempdir().unwrap();
    let demo = RunningDemo::start(folder.path());
    let control = demo.flag("--control").replace("--control http://", "");
    let help = run("demo --help").out;
    let answer = request(control.trim().parse().unwrap(), "GET /faults", "").unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let faults: Vec<Value> = serde_json::from_str(body).unwrap();
    assert!(faults.len() > 20);
    for fault in faults {
        let (word, about) = (
            fault["word"].as_str().unwrap(),
            fault["about"].as_str().unwrap(),
        );
        let row = help
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{word} ")));
        assert!(
            row.is_some_and(|row| row.ends_with(about)),
            "{word}: {help}"
        );
    }
}

#[test]
fn the_readme_names_every_fault_and_every_kind_of_traffic() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let faults = Fault::WORDS.map(|known| known.word);
    for word in faults.into_iter().chain(["crawl", "batch"]) {
        assert!(readme.contains(&format!("`{word}`")), "{word}");
    }
}
