//! The documents: their examples work, their links lead somewhere, their catalogues are whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use meridian_core::config::{self, Reader};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with this ending, sorted.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The documents for people, generated ones included.
fn documents() -> Vec<PathBuf> {
    let mut found = files(&root().join("docs"), "md");
    let top = std::fs::read_dir(root()).unwrap();
    let top = top.map(|entry| entry.unwrap().path());
    found.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

/// The code blocks of a document: the word after the fence, and the lines.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut open: Option<(String, Vec<String>)> = None;
    for line in text.lines() {
        // Blocks in a list are indented.
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(kind), None) => open = Some((kind.to_owned(), Vec::new())),
            (None, Some((_, lines))) => lines.push(line.trim_start().to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a code block is not closed");
    found
}

/// The command lines that call `meridian`, without what a shell does around them.
fn commands(text: &str) -> Vec<String> {
    let shells = blocks(text)
        .into_iter()
        .filter(|(kind, _)| kind == "sh" || kind == "console");
    let lines = shells.flat_map(|(kind, lines)| {
        let typed = move |line: String| match kind.as_str() {
            "console" => line.strip_prefix("$ ").map(str::to_owned),
            _ => Some(line),
        };
        lines.into_iter().filter_map(typed).collect::<Vec<_>>()
    });
    let parts: Vec<String> = lines
        .flat_map(|line| {
            let line = line.split(" #").next().unwrap_or_default().to_owned();
            let parts = line.split([';', '|']).flat_map(|part| part.split("&&"));
            parts.map(|part| part.trim().to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let ours = parts.into_iter();
    ours.filter(|part| part.split(' ').next() == Some("meridian"))
        .collect()
}

/// The commands within sentences, between single backquotes.
fn mentioned(text: &str) -> Vec<String> {
    let prose = text.split("```").step_by(2);
    let spans = prose.flat_map(|part| part.split('`').skip(1).step_by(2));
    let ours = spans.filter(|span| span.starts_with("meridian "));
    ours.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_command_in_the_documents_is_one_the_command_line_knows() {
    let mut seen = 0;
    for path in documents() {
        for command in commands(&read(&path)) {
            let parsed = meridian::cli::definition().try_get_matches_from(command.split(' '));
            if let Err(error) = parsed {
                panic!("{}: {command}: {error}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} commands found");
}

#[test]
fn every_command_in_a_sentence_exists_though_it_may_lack_its_arguments() {
    let mut seen = 0;
    for path in documents() {
        for command in mentioned(&read(&path)) {
            let parsed = meridian::cli::definition().try_get_matches_from(command.split(' '));
            let kind = parsed.err().map(|error| error.kind());
            assert!(
                matches!(kind, None | Some(ErrorKind::MissingRequiredArgument)),
                "{}: {command}: {kind:?}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen >= 15, "only {seen} commands found");
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut seen = 0;
    for path in documents() {
        for (kind, lines) in blocks(&read(&path)) {
            if kind != "toml" {
                continue;
            }
            let mut text = lines.join("\n");
            // A block may leave out what it is not about.
            if !text.contains("[region.") {
                text.push_str("\n[region.eu-west-1]\norigins = [\"https://eu.example.com\"]\n");
            }
            if !text.contains("[[listener]]") {
                text.push_str("\n[[listener]]\naddress = \"127.0.0.1:8080\"\n");
            }
            if !text.contains("[[route]]") {
                text.push_str("\n[[route]]\nregions = [\"eu-west-1\"]\n");
            }
            let reader = Reader {
                read: &|_| Ok(text.clone()),
                list: &|_| Ok(Vec::new()),
                env: &|_| None,
            };
            let loaded = config::load(Path::new("example.toml"), &reader);
            if let Err(problems) = loaded {
                panic!("{}:\n{text}\n{problems}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 2, "only {seen} configurations found");
}

#[test]
fn the_configuration_inside_the_compose_file_loads_without_a_warning() {
    let text = read(&root().join("deploy/compose.yaml"));
    let inside = text.split("  meridian:\n    content: |\n").nth(1).unwrap();
    let inside: Vec<_> = inside
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("      "))
        .map(str::trim_start)
        .collect();
    let reader = Reader {
        read: &|_| Ok(inside.join("\n")),
        list: &|_| Ok(Vec::new()),
        env: &|_| None,
    };
    let config = config::load(Path::new("meridian.toml"), &reader)
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(
        config.warnings.is_empty(),
        "{}",
        config.render_warnings(false)
    );
}

/// The local targets of a document's links.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.contains(' '));
    local.collect()
}

/// How a heading is linked to.
fn anchor(heading: &str) -> String {
    let plain = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = plain
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_to_a_file_or_heading_leads_there() {
    for path in documents() {
        let text = read(&path);
        for link in links(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                _ => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = read(&target);
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{}: {link}",
                    path.display()
                );
            }
        }
    }
}

/// Sources without their unit tests.
fn sources(folder: &str) -> String {
    let whole = files(&root().join(folder), "rs");
    let texts = whole.iter().map(|path| {
        let text = read(path);
        let tests = text.find("#[cfg(test)]").unwrap_or(text.len());
        text[..tests].to_owned()
    });
    texts.collect()
}

/// The codes that follow a call or field which takes one.
fn codes_in(text: &str) -> BTreeSet<String> {
    const BEFORE: [&str; 9] = [
        "error(",
        "fault(",
        "missing(",
        "Self::new(",
        "ValueFault::new(",
        "warning(",
        ".warn(",
        "code: ",
        "CANNOT_LISTEN: &str = ",
    ];
    let mut found = BTreeSet::new();
    for before in BEFORE {
        for rest in text.split(before).skip(1) {
            let Some(rest) = rest.trim_start().strip_prefix('"') else {
                continue;
            };
            let code = rest.split('"').next().unwrap_or_default();
            let shape = |c: char| c.is_ascii_lowercase() || c == '-';
            if !code.is_empty() && code.chars().all(shape) {
                found.insert(code.to_owned());
            }
        }
    }
    found
}

/// The words in the first column of a document's tables.
fn first_column(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_problem_code_of_the_source_is_explained_and_no_other() {
    let text = read(&root().join("docs/errors.md"));
    let part = text.split("## Answers").next().unwrap();
    let explained = first_column(part);
    let used = codes_in(&(sources("core/src/config") + &sources("src/resources")))
        .union(&codes_in(&read(&root().join("src/resources.rs"))))
        .cloned()
        .collect::<BTreeSet<_>>();
    assert!(used.len() > 40, "only {used:?}");
    assert_eq!(used, explained);
    let sorted: Vec<_> = explained.iter().collect();
    let written: Vec<_> = part
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(
        written, sorted,
        "the catalogue is in the order of the codes"
    );
}

#[test]
fn every_reason_in_proxy_status_is_explained() {
    let text = read(&root().join("docs/errors.md"));
    let source = read(&root().join("src/proxy/error_response.rs"));
    let body = source.split("fn proxy_status(&self)").nth(1).unwrap();
    let body = body.split("fn public").next().unwrap();
    let reasons: BTreeSet<_> = body.split('"').skip(1).step_by(2).collect();
    assert!(reasons.len() > 8, "{reasons:?}");
    for reason in reasons {
        assert!(text.contains(&format!("| `{reason}` |")), "{reason}");
    }
    let source = read(&root().join("core/src/decide/failover.rs"));
    let body = source.split("impl GiveUp").nth(1).unwrap();
    let body = body.split("\n}").next().unwrap();
    for label in body.split('"').skip(1).step_by(2) {
        assert!(text.contains(&format!("| `{label}` |")), "{label}");
    }
}

#[test]
fn every_key_of_what_moves_traffic_is_explained_to_operators() {
    let reference = read(&root().join("docs/configuration.md"));
    let operations = read(&root().join("docs/operations.md"));
    for section in ["outlier_detection", "hedge", "probation", "failback"] {
        let part = reference.split(&format!("## `[{section}]`\n")).nth(1);
        let part = part.and_then(|part| part.split("\n## ").next());
        let keys = first_column(part.unwrap_or_else(|| panic!("no [{section}]")));
        let keys: Vec<_> = keys.iter().filter(|key| *key != "key").collect();
        assert!(keys.len() >= 4, "[{section}]: {keys:?}");
        for key in keys {
            let named = format!("`{section}.{key}`");
            assert!(operations.contains(&named), "{named} is not explained");
        }
    }
}

#[test]
fn every_metric_in_the_documents_exists() {
    let known = first_column(&read(&root().join("docs/metrics.md")));
    // The changelog names what has gone, too.
    let documents = documents().into_iter();
    for path in documents.filter(|path| !path.ends_with("CHANGELOG.md")) {
        let text = read(&path);
        for rest in text.split("meridian_").skip(1) {
            let shape = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let name: String = rest.chars().take_while(|c| shape(*c)).collect();
            let name = format!("meridian_{name}");
            assert!(known.contains(&name), "{}: {name}", path.display());
        }
    }
}

#[test]
fn the_licence_of_every_dependency_is_allowed() {
    let allowed: toml::Table = read(&root().join("deny.toml")).parse().unwrap();
    let allowed: BTreeSet<_> = allowed["licenses"]["allow"]
        .as_array()
        .unwrap()
        .iter()
        .map(|licence| licence.as_str().unwrap().to_owned())
        .collect();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let metadata = std::process::Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked"])
        // Packages of other platforms may not have been fetched.
        .arg(format!(
            "--filter-platform={}-unknown-linux-gnu",
            std::env::consts::ARCH
        ))
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(
            is_allowed(licence, &allowed),
            "{}: {licence}",
            package["name"]
        );
    }
}

/// Whether an SPDX expression can be satisfied: `AND` binds more tightly than `OR`; the old form
/// with a slash means `OR`.
fn is_allowed(licence: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = licence.replace('/', " OR ");
    if let Some((before, rest)) = flat.split_once('(') {
        // Only the form `(A OR B) AND C`, and its mirror image, is in use.
        let (inner, after) = rest.split_once(')').unwrap_or((rest, ""));
        let outer = format!("{before} {after}");
        let outer: Vec<_> = outer
            .split(" AND ")
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        return is_allowed(inner, allowed) && outer.iter().all(|part| is_allowed(part, allowed));
    }
    let one = |name: &str| allowed.contains(name.trim());
    flat.split(" OR ").any(|all| all.split(" AND ").all(one))
}
