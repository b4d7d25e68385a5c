//! The command line as a user meets it.

mod bench;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::cargo::CommandCargoExt;

/// The program with this command line, in a folder of its own.
pub(crate) fn meridian(folder: &Path, line: &str) -> Command {
    let mut command = Command::cargo_bin("meridian").unwrap();
    command
        .args(line.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// How a command ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs the program to its end.
pub(crate) fn run(line: &str) -> Ran {
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
    let commands = [
        "status",
        "reload",
        "confirm eu-west-1",
        "healthcheck",
        "explain --live",
    ];
    for command in commands {
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
        "confirm one",
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
