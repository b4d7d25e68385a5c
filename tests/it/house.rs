//! What must stay absent, read from the sources and from the packages that are built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The core's modules, the highest first: each may import those after it.
const CORE: [(&str, &[&str]); 8] = [
    ("config", &["apply", "decide", "table", "health", "model"]),
    (
        "outlier",
        &["hedge", "apply", "decide", "table", "health", "model"],
    ),
    ("hedge", &["model"]),
    ("apply", &["decide", "table", "health", "model"]),
    ("decide", &["table", "health", "model"]),
    ("table", &["model"]),
    ("health", &["table", "model"]),
    ("model", &[]),
];

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

pub(crate) struct Source {
    /// Whether it is of the pure core's package.
    is_core: bool,
    /// Relative to `src`, with slashes.
    pub(crate) path: String,
    /// Without comments and without the tests at the end.
    pub(crate) lines: Vec<(usize, String)>,
}

impl Source {
    fn module(&self) -> &str {
        let end = self.path.find(['/', '.']).unwrap_or(self.path.len());
        &self.path[..end]
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = sources_below(&project.join("src"), false);
    found.extend(sources_below(&project.join("core/src"), true));
    assert!(found.len() > 20, "the sources were found");
    found
}

fn sources_below(root: &Path, is_core: bool) -> Vec<Source> {
    let mut folders = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(root, &path, is_core));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn source(root: &Path, path: &PathBuf, is_core: bool) -> Source {
    let text = fs::read_to_string(path).expect("a source is text");
    let relative = path.strip_prefix(root).expect("it is below src");
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let lines = (1..)
        .zip(text.lines())
        .take_while(|(_, line)| {
            !line.trim().starts_with("#[cfg(test)]") && !line.trim().starts_with("#[cfg(all(test")
                || line.starts_with(' ')
        })
        .map(|(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            (number, code.to_owned())
        });
    Source {
        is_core,
        path: parts.join("/"),
        lines: lines.collect(),
    }
}

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

#[test]
fn imports_of_the_core_point_down() {
    let sources = sources();
    let core = sources
        .iter()
        .filter(|source| source.is_core && source.module() != "lib");
    none(&offences(core, |source, line| {
        let (_, below) = CORE
            .iter()
            .find(|(module, _)| *module == source.module())
            .expect("it is core");
        imports(line).any(|module| {
            module != source.module() && !module.is_empty() && !below.contains(&module)
        })
    }));
}

/// The shell's modules that requests pass through, the highest first: none imports one before it.
const PATH_OF_A_REQUEST: [&str; 8] = [
    "worker",
    "edge",
    "proxy",
    "board",
    "resources",
    "geo",
    "upstream",
    "telemetry",
];

#[test]
fn imports_along_the_path_of_a_request_point_down() {
    let height = |module: &str| PATH_OF_A_REQUEST.iter().position(|one| *one == module);
    none(&offences(&sources(), |source, line| {
        let Some(own) = height(source.module()) else {
            return false;
        };
        imports(line).any(|module| height(module).is_some_and(|other| other < own))
    }));
}

#[test]
fn only_the_commands_import_the_application() {
    none(&offences(&sources(), |source, line| {
        let may = ["app", "cli", "main", "demo"].contains(&source.module());
        !may && imports(line).any(|module| module == "app")
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
