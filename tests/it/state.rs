//! A proxy that is stopped and started again in the middle of an outage knows what it knew.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use meridian::reload::Outcome;
use meridian_core::config::DrainConfig;
use meridian_core::health::failback::{Failback, Stage};
use meridian_core::health::rise_fall::Health;
use tempfile::TempDir;

use crate::support::client::get;
use crate::support::dns::{DnsServer, Say};
use crate::support::edge::Edge;
use crate::support::origin::{Behaviour, FakeOrigin};
use crate::support::resources::until;

/// A proxy that is started and stopped again and again, and two regions, `a` before `b`.
struct Site {
    a: FakeOrigin,
    b: FakeOrigin,
    dir: TempDir,
}

impl Site {
    async fn new() -> Self {
        Self {
            a: FakeOrigin::start("a").await,
            b: FakeOrigin::start("b").await,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// The configuration, with `more` at its end; probes so slow that they do not matter.
    fn text(&self, more: &str) -> String {
        let regions = [("a", &*self.a.url()), ("b", &*self.b.url())];
        let dir = self.dir.path().display();
        Edge::text(&regions, &format!("{more}[state]\ndir = \"{dir}\"\n"))
    }

    /// A proxy that finds out fast, and is sure of both regions.
    async fn start(&self, more: &str) -> Edge {
        let text = self.text(more).replace("1h", "100ms");
        let text = text.replace("[probe]\n", "[probe]\ntimeout = \"200ms\"\n");
        let edge = Edge::start(&text).await;
        let all = |health| move |edge: &Edge| regions(edge).iter().all(|one| one.0 == health);
        believes(&edge, all(Health::Healthy)).await;
        edge
    }

    /// A proxy that can only know from before.
    async fn start_again(&self) -> Edge {
        Edge::start(&self.text("")).await
    }

    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("state.json")
    }
}

async fn stop(edge: Edge) {
    let at_once = DrainConfig {
        delay: Duration::ZERO,
        timeout: Duration::from_secs(5),
    };
    edge.app.drain(at_once, std::future::pending()).await;
}

/// Health and return of each region.
fn regions(edge: &Edge) -> Vec<(Health, Failback)> {
    let live = edge.app.board().live();
    let regions = live.snapshot.regions.iter();
    regions
        .map(|region| (region.health, region.failback[0]))
        .collect()
}

async fn believes(edge: &Edge, holds: impl Fn(&Edge) -> bool) {
    until(&mut edge.app.board().revisions(), || holds(edge)).await;
}

async fn a_is_down(edge: &Edge) {
    let down = |edge: &Edge| {
        edge.app.board().live().beliefs.regions[0]
            .availability
            .is_out()
    };
    believes(edge, down).await;
}

#[tokio::test]
async fn the_first_request_after_a_restart_in_mid_outage_goes_to_the_right_region() {
    for hangs in [true, false] {
        let mut site = Site::new().await;
        let edge = site.start("").await;
        if hangs {
            site.a.behave(Behaviour::Hang);
        } else {
            site.a.kill().await;
        }
        a_is_down(&edge).await;
        stop(edge).await;

        let asked = site.a.seen().len();
        let edge = site.start_again().await;
        assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
        assert_eq!(site.a.seen().len(), asked, "a was tried");
        assert_eq!(site.b.seen().len(), 1);
        let retries = "meridian_retries_total{region=\"b\"}";
        assert_eq!(edge.metric(retries).await, 0.0);
        stop(edge).await;
    }
}

#[tokio::test]
async fn what_the_second_process_never_saw_outlives_it_too() {
    let site = Site::new().await;
    let edge = site.start("").await;
    site.a.behave(Behaviour::Hang);
    a_is_down(&edge).await;
    stop(edge).await;
    stop(site.start_again().await).await;
    let edge = site.start_again().await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
    assert!(site.a.seen().is_empty());
}

#[tokio::test]
async fn a_hold_goes_on_after_a_restart_and_does_not_begin_anew() {
    let hold = "[failback]\nhold_down = \"10m\"\n";
    let site = Site::new().await;
    let edge = site.start(hold).await;
    site.a.behave(Behaviour::Hang);
    a_is_down(&edge).await;
    site.a.behave(Behaviour::Name);
    site.a.close_connections();
    let is_held = |edge: &Edge| regions(edge)[0].1.stage() == Stage::HoldDown;
    believes(&edge, is_held).await;
    stop(edge).await;

    let edge = Edge::start(&site.text(hold)).await;
    let (health, failback) = regions(&edge)[0];
    assert_eq!(health, Health::Healthy);
    let until = failback.hold_down_until().unwrap();
    // A hold that began after the start would end more than ten minutes after it.
    assert!(until.since_start() < Duration::from_secs(600), "{until:?}");
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
}

#[tokio::test]
async fn a_change_is_on_disk_while_the_process_runs() {
    let site = Site::new().await;
    let edge = site.start("").await;
    let series = "meridian_state_last_write_timestamp_seconds";
    edge.counted(series, 1.0).await;
    site.a.behave(Behaviour::Hang);
    a_is_down(&edge).await;
    let written = async {
        loop {
            let text = std::fs::read_to_string(site.file()).unwrap();
            // A reader never meets half a file.
            let state: serde_json::Value = serde_json::from_str(&text).unwrap();
            if state["regions"][0]["out"] == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let limit = Duration::from_secs(5);
    tokio::time::timeout(limit, written).await.unwrap();
    let failures = "meridian_state_write_failures_total";
    assert_eq!(edge.metric(failures).await, 0.0);
}

#[tokio::test]
async fn a_directory_that_goes_is_counted_and_costs_no_request() {
    let site = Site::new().await;
    let edge = site.start("").await;
    edge.counted("meridian_state_last_write_timestamp_seconds", 1.0)
        .await;
    std::fs::remove_dir_all(site.dir.path()).unwrap();
    site.a.behave(Behaviour::Hang);
    a_is_down(&edge).await;
    edge.counted("meridian_state_write_failures_total", 1.0)
        .await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "b");
}

#[tokio::test]
async fn names_are_known_after_a_restart_while_no_name_server_answers() {
    let origin = FakeOrigin::start("a").await;
    let server = DnsServer::start(Say::Addresses(vec![[127, 0, 0, 1].into()], 60)).await;
    let dir = tempfile::tempdir().unwrap();
    let url = format!("http://api.test.example:{}", origin.address.port());
    let more = format!(
        "[dns]\nservers = [\"{}\"]\n[state]\ndir = \"{}\"\n",
        server.address,
        dir.path().display()
    );
    let text = Edge::text(&[("a", &url)], &more);
    let edge = Edge::start(&text).await;
    edge.resolved().await;
    stop(edge).await;
    server.say(Say::Silence);
    let edge = Edge::start(&text).await;
    assert_eq!(get(edge.address, "/", &[]).await.text(), "a");
}

#[tokio::test]
async fn another_directory_takes_effect_with_a_reload() {
    let site = Site::new().await;
    let edge = site.start("").await;
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join("made");
    let (from, to) = (site.dir.path().display(), path.display());
    edge.write(&site.text("").replace(&from.to_string(), &to.to_string()));
    let result = edge.app.reload().await;
    let Outcome::Installed {
        changes,
        needs_restart,
    } = &result.outcome
    else {
        panic!("{result:?}");
    };
    assert!(changes.contains(&"state changed".to_owned()), "{changes:?}");
    assert!(needs_restart.is_empty());
    stop(edge).await;
    assert!(path.join("state.json").exists());
    let kept = std::fs::read_to_string(path.join("last-good.toml")).unwrap();
    assert!(kept.contains(&to.to_string()), "{kept}");
}

/// The program itself, and what it says.
struct Process {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Process {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut child = command(folder, arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on until a line has `text`; gives all that were read.
    fn says(&mut self, text: &str) -> String {
        let mut said = String::new();
        for line in &mut self.lines {
            said.push_str(&line.unwrap());
            said.push('\n');
            if said.lines().last().unwrap_or_default().contains(text) {
                return said;
            }
        }
        panic!("it never said {text:?}:\n{said}");
    }
}

impl Drop for Process {
    /// As a machine that loses its power.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("meridian").unwrap();
    command
        .args(["-c", "meridian.toml", "--log-format", "json"])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// The exit code and what was said.
fn ended(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let output = command(folder, arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// A folder with a configuration whose state is in `state` beside it.
fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let text = Edge::text(
        &[("a", "http://127.0.0.1:1")],
        "[state]\ndir = \"state\"\n[drain]\ndelay = \"0s\"\n",
    );
    std::fs::write(folder.path().join("meridian.toml"), &text).unwrap();
    (folder, text)
}

/// Waits until a file is there: the process that makes it is another one.
fn appears(path: &Path) {
    let patience = std::iter::repeat_n(Duration::from_millis(5), 2000);
    for pause in patience {
        if path.exists() {
            return;
        }
        std::thread::sleep(pause);
    }
    panic!("{} never appeared", path.display());
}

#[test]
fn files_that_cannot_be_used_are_told_and_ignored() {
    let newer = r#"{"format":3,"regions":"in another form"}"#;
    for (text, why) in [
        ("{\"format\":2,\"regio", "EOF while parsing"),
        ("not JSON at all", "expected"),
        (newer, "it is of format 3, and this version reads 2"),
    ] {
        let (folder, _) = folder();
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        std::fs::write(state.join("state.json"), text).unwrap();
        let mut process = Process::start(folder.path(), &["run"]);
        let said = process.says("listening at");
        let warned = |line: &str| line.contains("WARN") && line.contains(why);
        assert!(said.lines().any(warned), "{said}");
    }
}

#[test]
fn the_last_good_configuration_serves_where_the_written_one_cannot() {
    let (folder, good) = folder();
    let kept = folder.path().join("state/last-good.toml");
    let fall_back = ["run", "--last-good", "state"];
    let broken = good.replace("failover", "failovr");
    std::fs::write(folder.path().join("meridian.toml"), &broken).unwrap();
    let (code, said) = ended(folder.path(), &fall_back);
    assert_eq!(code, 78, "{said}");
    assert!(said.contains("no last good configuration"), "{said}");

    std::fs::write(folder.path().join("meridian.toml"), &good).unwrap();
    let mut process = Process::start(folder.path(), &fall_back);
    let said = process.says("listening at");
    assert!(!said.contains("served last"), "{said}");
    appears(&kept);
    drop(process);

    std::fs::write(folder.path().join("meridian.toml"), &broken).unwrap();
    let (code, said) = ended(folder.path(), &["run"]);
    assert_eq!(code, 78, "it is not used unless asked for: {said}");
    let mut process = Process::start(folder.path(), &fall_back);
    let said = process.says("listening at");
    assert!(said.contains("failovr"), "{said}");
    assert!(said.contains("configuration that served last"), "{said}");
    assert!(said.contains("configuration refused"), "{said}");
    // Mended, it serves without another restart.
    let mended = format!("# mended\n{good}");
    let new = folder.path().join("new");
    std::fs::write(&new, mended).unwrap();
    std::fs::rename(new, folder.path().join("meridian.toml")).unwrap();
    process.says("configuration reloaded");
}

#[test]
fn a_directory_that_cannot_hold_state_is_refused_at_its_line() {
    let (folder, _) = folder();
    std::fs::write(folder.path().join("state"), "a file").unwrap();
    for line in ["validate", "run"] {
        let (code, said) = ended(folder.path(), &[line]);
        assert_eq!(code, 78, "{said}");
        assert!(said.contains("state: not a directory"), "{said}");
        assert!(
            said.contains("dir = \"state\"") && said.contains('^'),
            "{said}"
        );
    }
}
