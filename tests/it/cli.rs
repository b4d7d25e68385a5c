//! The command line as a user meets it, and the demo's simulated regions.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use assert_cmd::cargo::CommandCargoExt;
use meridian::demo::fault::Fault;
use meridian::demo::region::RegionSpec;
use meridian::demo::{Regions, default_regions};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn meridian(folder: &Path, line: &str) -> Command {
    let mut command = Command::cargo_bin("meridian").unwrap();
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(line: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    ran(meridian(folder.path(), line))
}

#[test]
fn help_fits_one_screen_and_points_to_the_demo() {
    for line in ["", "-h"] {
        let help = run(line);
        assert_eq!(help.code, 0);
        assert!(help.out.lines().count() <= 24, "{}", help.out);
        assert!(
            help.out.lines().all(|line| line.chars().count() <= 80),
            "{}",
            help.out
        );
        assert_eq!(
            help.out.trim_end().lines().last(),
            Some("try: meridian demo")
        );
    }
    assert!(run("--help").out.contains("Examples:"));
}

#[test]
fn the_version_is_the_packages() {
    let version = run("-V").out;
    assert_eq!(
        version.trim(),
        format!("meridian {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn a_usage_error_is_2_but_1_for_a_health_check() {
    assert_eq!(run("fly").code, 2);
    assert_eq!(run("explain --country Germany").code, 2);
    assert_eq!(run("init --preset nonsense").code, 2);
    assert_eq!(run("healthcheck --fly").code, 1);
}

#[test]
fn without_a_configuration_both_usual_places_are_named() {
    if Path::new("/etc/meridian/meridian.toml").exists() {
        return;
    }
    let refused = run("validate");
    assert_eq!(refused.code, 78);
    assert!(refused.err.contains("./meridian.toml"), "{}", refused.err);
    assert!(
        refused.err.contains("/etc/meridian/meridian.toml"),
        "{}",
        refused.err
    );
}

#[test]
fn a_configuration_that_does_not_load_is_78() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("meridian.toml"), "nonsense = 1\n").unwrap();
    for line in ["validate", "run", "explain --country DE"] {
        let refused = ran(meridian(folder.path(), line));
        assert_eq!(refused.code, 78, "{line}: {}", refused.err);
        assert!(refused.out.is_empty(), "{line}: {}", refused.out);
    }
}

#[test]
fn init_writes_a_file_that_validates_and_never_overwrites_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = ran(meridian(folder.path(), "init --preset local"));
    assert_eq!(first.code, 0, "{}", first.err);
    let path = folder.path().join("meridian.toml");
    let written = std::fs::read_to_string(&path).unwrap();
    let again = ran(meridian(folder.path(), "init --preset cloudfront"));
    assert_eq!(again.code, 1);
    assert!(again.err.contains("left as it is"), "{}", again.err);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    let valid = ran(meridian(folder.path(), "validate"));
    assert_eq!(valid.code, 0, "{}", valid.err);
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    for line in ["schema", "completions bash", "man", "--help", ""] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = meridian(folder.path(), line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut talk = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut talk)
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{line:?}: {talk}");
        assert_eq!(talk, "", "{line:?}");
    }
}

#[test]
fn a_command_that_finds_no_proxy_names_the_address_it_tried() {
    // Bound and dropped: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    for command in ["status", "reload", "healthcheck", "explain --live"] {
        let refused = run(&format!("{command} --admin http://{address}"));
        assert_eq!(refused.code, 1, "{command}");
        let named = format!("http://{address}");
        assert!(refused.err.contains(&named), "{command}: {}", refused.err);
    }
}

#[test]
fn the_demos_configuration_can_be_seen() {
    let shown = run("demo --print-config");
    assert_eq!(shown.code, 0, "{}", shown.err);
    let config: toml::Table = shown.out.parse().unwrap();
    assert_eq!(
        config["listener"][0]["address"].as_str(),
        Some("127.0.0.1:8443")
    );
}

#[test]
fn the_reference_is_made_from_the_definition() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let reference = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference,
        "docs/cli.md is old; run: UPDATE_DOCS=1 cargo test --test it cli"
    );
}

/// The whole command line as Markdown.
fn reference() -> String {
    let mut text = String::from(
        "# Command line\n\n\
         Made from the program's own definition; see `CONTRIBUTING.md` before you edit it.\n\n\
         Exit codes: 0 done, 1 failed, 2 usage, 78 configuration invalid; `healthcheck` only 0 or 1.\n\
         Data goes to standard output, talk to standard error.\n",
    );
    let mut definition = meridian::cli::definition().term_width(90);
    definition.build();
    describe(&mut text, &mut definition, "");
    text
}

fn describe(text: &mut String, command: &mut clap::Command, parent: &str) {
    let name = format!("{parent}{}", command.get_name());
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n"));
    let parent = format!("{name} ");
    for subcommand in command.get_subcommands_mut() {
        describe(text, subcommand, &parent);
    }
}

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

#[test]
fn a_region_answers_with_its_name_and_what_it_received() {
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 0)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
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
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 0)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
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
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 0)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
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
    let regions = Regions::start(&[RegionSpec::new("eu-west-1", 0)]).unwrap();
    let address = regions.address("eu-west-1").unwrap();
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

#[test]
fn commands_ask_the_admin_endpoint_that_the_configuration_names() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [admin]\naddress = \"{address}\"\ntoken = \"of-the-file\"\n\
         [region.one]\norigins = [\"http://127.0.0.1:1\"]\n\
         [[route]]\nname = \"all\"\npath = \"/\"\nregions = [\"one\"]\n"
    );
    std::fs::write(folder.path().join("meridian.toml"), &text).unwrap();
    std::fs::write(folder.path().join("other.toml"), &text).unwrap();
    let lines = [
        "status",
        "status -c other.toml",
        "reload -c other.toml",
        "healthcheck",
    ];
    let asked = std::thread::spawn(move || {
        lines.map(|_| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let answer = b"HTTP/1.1 418 Teapot\r\nContent-Length: 6\r\n\r\nteapot";
            stream.write_all(answer).unwrap();
            String::from_utf8(head).unwrap()
        })
    });
    for line in lines {
        let refused = ran(meridian(folder.path(), line));
        assert_eq!(refused.code, 1, "{line}: {}", refused.err);
        let named = format!("http://{address}");
        assert!(
            refused.err.contains(&named) && refused.err.contains("teapot"),
            "{line}: {}",
            refused.err
        );
    }
    for head in asked.join().unwrap() {
        assert!(head.contains("Bearer of-the-file"), "{head}");
    }
}

#[test]
fn an_admin_flag_goes_before_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[admin]\naddress = \"127.0.0.1:1\"\n";
    std::fs::write(folder.path().join("meridian.toml"), text).unwrap();
    let refused = ran(meridian(folder.path(), "status --admin http://127.0.0.1:2"));
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("127.0.0.1:2"), "{}", refused.err);
}
