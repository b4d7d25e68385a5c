//! What must stay absent, read from the sources and from the packages that are built.

mod circles;
mod names;
mod sizes;
pub(crate) mod sources;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use self::sources::{Source, sources};

/// What the standard library could give the core, and must not; what packages could, its manifest
/// leaves out.
const OF_THE_SYSTEM: [&str; 7] = [
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "Instant",
    "SystemTime",
    "println!",
];

/// Costs that must not be paid per request.
const PER_REQUEST: [&str; 12] = [
    "counter!",
    "gauge!",
    "histogram!",
    "instrument]",
    "#[instrument",
    "span!",
    "error_span!",
    "warn_span!",
    "info_span!",
    "debug_span!",
    "trace_span!",
    ".instrument(",
];

/// The modules of this crate that a line names.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, found)| {
        let rest = &line[at + found.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// Every line of `sources` that `is_wrong`, as `path:line: code`.
fn offences<'a>(
    sources: impl IntoIterator<Item = &'a Source>,
    is_wrong: impl Fn(&Source, &str) -> bool,
) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in &source.lines {
            if is_wrong(source, line) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

fn none(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn the_core_asks_nothing_of_the_system() {
    let sources = sources();
    let core = sources
        .iter()
        .filter(|source| source.is_core && source.module() != "lib");
    none(&offences(core, |_, line| {
        OF_THE_SYSTEM.iter().any(|word| line.contains(word))
    }));
}

/// The core's modules, the highest first: none imports one before it.
const CORE: [&str; 9] = [
    "config",
    "outlier",
    "hedge_delay",
    "apply",
    "decide",
    "change",
    "health",
    "table",
    "model",
];

#[test]
fn imports_of_the_core_point_down() {
    let sources = sources();
    points_down(sources.iter().filter(|source| source.is_core), &CORE);
}

/// The shell's modules, the highest first: none imports one before it.
const SHELL: [&str; 22] = [
    "main",
    "cli",
    "app",
    "worker",
    "edge",
    "proxy",
    "admin",
    "reload",
    "state",
    "load",
    "probe",
    "board",
    "resources",
    "geo",
    "upstream",
    "stream",
    "telemetry",
    "demo",
    "executor",
    "descriptors",
    "ciphers",
    "clock",
];

#[test]
fn imports_of_the_shell_point_down() {
    let sources = sources();
    points_down(sources.iter().filter(|source| !source.is_core), &SHELL);
}

fn points_down<'a>(sources: impl Iterator<Item = &'a Source>, order: &[&str]) {
    let height = |module: &str| order.iter().position(|one| *one == module);
    let modules = sources.filter(|source| source.module() != "lib");
    none(&offences(modules, |source, line| {
        let own = height(source.module()).expect("the module has a place in the order");
        imports(line).any(|module| height(module).is_some_and(|other| other < own))
    }));
}

#[test]
fn requests_pay_for_no_metrics_macro_and_no_span() {
    let sources = sources();
    let data_plane = sources
        .iter()
        .filter(|source| ["proxy", "upstream", "edge"].contains(&source.module()));
    none(&offences(data_plane, |_, line| {
        PER_REQUEST.iter().any(|word| line.contains(word))
    }));
}

#[test]
fn nothing_outside_tests_unwraps() {
    none(&offences(&sources(), |_, line| line.contains(".unwrap()")));
}

#[test]
fn no_package_with_a_known_fault_is_locked() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("the lock file is there");
    let lock: toml::Table = toml::from_str(&lock).expect("the lock file is TOML");
    let packages = lock["package"].as_array().expect("it lists packages");
    for (name, floor) in [
        ("arc-swap", [1, 9, 5]),
        ("rustls", [0, 23, 45]),
        ("hyper", [1, 11, 0]),
        ("h2", [0, 4, 18]),
    ] {
        let versions: Vec<&str> = packages
            .iter()
            .filter(|package| package["name"].as_str() == Some(name))
            .filter_map(|package| package["version"].as_str())
            .collect();
        assert!(!versions.is_empty(), "{name} is locked");
        for version in versions {
            let plain = version.split(['-', '+']).next().unwrap_or_default();
            let numbers: Vec<u32> = plain.split('.').filter_map(|n| n.parse().ok()).collect();
            assert!(
                numbers.as_slice() >= floor.as_slice(),
                "{name} {version} is older than {floor:?}"
            );
        }
    }
}

/// The lock file also names packages of features nobody turned on, so it cannot tell.
#[test]
fn one_tls_library_and_no_second_http_client_are_built() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none"])
        .args(["--format", "{p}", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(
        tree.status.success(),
        "{}",
        String::from_utf8_lossy(&tree.stderr)
    );
    let built: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(built.contains("rustls"), "the tree was read");
    for absent in ["ring", "openssl-sys", "native-tls", "reqwest"] {
        assert!(!built.contains(absent), "{absent} is built");
    }
}
