//! A new configuration serves whole or not at all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use meridian::board::Board;
use meridian::clock::Clock;
use meridian::load::Refusal;
use meridian::reload::{Cause, Outcome, Reloader};
use meridian::resources::Resources;
use meridian::telemetry::metrics::MetricsRegistry;
use meridian_core::config::problem::Problem;
use meridian_core::config::problems::Problems;
use meridian_core::table::origin::{OriginHost, ProbeSpec};

use crate::support::metrics::{page, value};
use crate::support::resources::{board, resources, until};
use crate::support::tables::{region, table};

/// Reads a file that lists region names; `bad` among them is refused.
fn load(path: &Path) -> Result<Arc<Resources>, Refusal> {
    let refuse = |text: String| Refusal {
        problems: Problems::new(Vec::new(), vec![Problem::error("bad-value", None, text)]),
        named: Vec::new(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    if text.contains("bad") {
        return Err(refuse(format!("region \"{text}\" is bad")));
    }
    let mut hash = DefaultHasher::new();
    text.hash(&mut hash);
    let address = OriginHost::Address([127, 0, 0, 1].into());
    let regions = text
        .split_whitespace()
        .map(|name| region(name, address.clone(), 80, ProbeSpec::default()))
        .collect();
    Ok(resources(table(regions), hash.finish()))
}

/// A board that serves the file at `path`, its reloader, and what that counts in.
async fn serving(path: PathBuf) -> (Board, Arc<Reloader>, MetricsRegistry) {
    let clock = Clock::start();
    let registry = MetricsRegistry::default();
    let board = board(load(&path).unwrap(), clock).await;
    let watched = vec![path.clone()];
    let reloader = Reloader::new(
        board.clone(),
        clock,
        &registry,
        move || load(&path),
        move |_| watched.clone(),
    );
    (board, Arc::new(reloader), registry)
}

/// How many reloads ended like this.
fn reloads(registry: &MetricsRegistry, result: &str) -> Option<f64> {
    let series = format!("meridian_config_reloads_total{{result=\"{result}\"}}");
    value(&page(registry), &series)
}

fn succeeded(registry: &MetricsRegistry) -> bool {
    value(&page(registry), "meridian_config_last_reload_successful") == Some(1.0)
}

fn regions(board: &Board) -> Vec<String> {
    let live = board.live();
    let regions = live.snapshot.table.regions.iter();
    regions.map(|region| region.name.to_string()).collect()
}

#[tokio::test]
async fn table_and_resources_are_published_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions");
    std::fs::write(&path, "a b").unwrap();
    let (board, reloader, _registry) = serving(path.clone()).await;
    let generation = board.live().snapshot.generation;
    std::fs::write(&path, "b c").unwrap();
    let result = reloader.reload(Cause::Operator).await;
    let live = board.live();
    assert!(Arc::ptr_eq(
        &live.snapshot.table,
        &live.resources.config.table
    ));
    assert_eq!(regions(&board), ["b", "c"]);
    assert_eq!(result.generation, generation + 1);
    assert_eq!(
        result.outcome,
        Outcome::Installed {
            changes: vec!["region c added".to_owned(), "region a removed".to_owned(),]
                .into_iter()
                .chain([format!("file {} changed", path.display())])
                .collect(),
            needs_restart: Vec::new(),
        }
    );
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions");
    std::fs::write(&path, "a").unwrap();
    let (board, reloader, registry) = serving(path.clone()).await;
    let generation = board.live().snapshot.generation;
    std::fs::write(&path, "bad").unwrap();
    let result = reloader.reload(Cause::Signal).await;
    assert!(matches!(&result.outcome, Outcome::Refused { problems } if problems.contains("bad")));
    assert_eq!(result.generation, generation);
    assert!(!succeeded(&registry));
    assert_eq!(regions(&board), ["a"]);

    std::fs::write(&path, "a").unwrap();
    let result = reloader.reload(Cause::Signal).await;
    assert_eq!(result.outcome, Outcome::Unchanged);
    assert_eq!(result.generation, generation);
    assert!(succeeded(&registry));
    let counts = ["installed", "unchanged", "refused"].map(|result| reloads(&registry, result));
    assert_eq!(counts, [Some(0.0), Some(1.0), Some(1.0)]);
}

#[tokio::test]
async fn a_changed_file_is_noticed_and_a_bad_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("regions");
    std::fs::write(&path, "a").unwrap();
    let (board, reloader, registry) = serving(path.clone()).await;
    let mut ended = reloader.ended();
    tokio::spawn(Arc::clone(&reloader).watch());
    std::fs::write(&path, "bad").unwrap();
    until(&mut ended, || reloads(&registry, "refused") == Some(1.0)).await;
    assert_eq!(regions(&board), ["a"]);
    std::fs::write(&path, "a b").unwrap();
    until(&mut ended, || reloads(&registry, "installed") == Some(1.0)).await;
    assert_eq!(regions(&board), ["a", "b"]);
    assert_eq!(reloader.last().unwrap().cause, Cause::File);
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_noticed() {
    // As Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is replaced.
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("v1", "a"), ("v2", "a b")] {
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(at(version).join("regions"), text).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/regions", at("regions")).unwrap();
    let (board, reloader, registry) = serving(at("regions")).await;
    let mut ended = reloader.ended();
    tokio::spawn(Arc::clone(&reloader).watch());
    symlink("v2", at("..data_tmp")).unwrap();
    std::fs::rename(at("..data_tmp"), at("..data")).unwrap();
    until(&mut ended, || reloads(&registry, "installed") == Some(1.0)).await;
    assert_eq!(regions(&board), ["a", "b"]);
}
