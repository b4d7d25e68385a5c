//! One load: read, parse, check, and either a configuration or everything that is wrong.

use std::collections::HashSet;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::config::context::CheckContext;
use crate::config::deserializer;
use crate::config::problem::{Problem, ProblemSink, Severity};
use crate::config::problems::Problems;
use crate::config::root::{Config, RootSection};
use crate::config::source::{self, Reader, SourceFiles};

/// The configuration in the file `main` and the files it includes.
///
/// # Errors
///
/// Everything that is wrong, warnings among it, when at least one error was found. Files that
/// the configuration names (certificates, databases) are not opened; secrets are.
pub fn load(main: &Path, reader: &Reader<'_>) -> Result<Config, Problems> {
    let report = ProblemSink::default();
    let (sources, root) = source::read(main, reader, &report);
    let Some((root, span)) = root else {
        return Err(Problems::new(sources.texts, report.into_list()));
    };
    let root: RootSection = deserializer::read(root, span, &report);
    let config = root.check(CheckContext::new(&sources, reader, &report));
    let list = without_echoes(report.into_list(), &sources);
    if list
        .iter()
        .any(|problem| problem.severity == Severity::Error)
    {
        return Err(Problems::new(sources.texts, list));
    }
    let problems = Problems::new(sources.texts, list);
    Ok(Config {
        warnings: problems.list().to_vec(),
        content_hash: content_hash(&config),
        ..config
    })
}

/// Drops what a syntax error alone may have caused: other words on its line, and the lack of
/// anything, since the missing part may stand where the text could not be read.
fn without_echoes(mut list: Vec<Problem>, sources: &SourceFiles) -> Vec<Problem> {
    let broken: HashSet<_> = list
        .iter()
        .filter(|problem| problem.code == "syntax")
        .filter_map(|problem| problem.span)
        .map(|span| sources.written(span))
        .collect();
    if broken.is_empty() {
        return list;
    }
    list.retain(|problem| {
        let absence = matches!(
            problem.code,
            "missing-key"
                | "no-listener"
                | "no-region"
                | "no-route"
                | "unknown-region"
                | "region-not-in-route"
                | "bad-weights"
                | "bad-tls"
                | "admin-without-token"
                | "header-without-trusted-peers"
                | "proxy-without-trusted-peers"
        );
        let beside = problem
            .span
            .is_some_and(|span| broken.contains(&sources.written(span)));
        problem.code == "syntax" || !(absence || beside)
    });
    list
}

fn content_hash(config: &Config) -> u64 {
    let mut hash = Xxh3::new();
    for source in &config.sources {
        hash.update(source.path.as_os_str().as_encoded_bytes());
        hash.update(&(source.text.len() as u64).to_le_bytes());
        hash.update(source.text.as_bytes());
    }
    hash.digest()
}
