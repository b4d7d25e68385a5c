//! Notices changed files: a look every second, sooner when the system says that something moved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::reload::fingerprint::Fingerprint;
use crate::reload::{Cause, Reloader};

/// How often the files are read whatever the system says: network file systems say nothing.
const POLL: Duration = Duration::from_secs(1);

/// How long the files must stand still before they are loaded: an editor or a deployment writes
/// several, one after the other.
const QUIET: Duration = Duration::from_millis(200);

impl Reloader {
    /// Reloads whenever a watched file changes, for as long as the returned future is polled.
    pub async fn watch(self: Arc<Self>) {
        let nudge = Arc::new(Notify::new());
        let mut folders = Folders::new(Arc::clone(&nudge));
        let mut poll = interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                () = nudge.notified() => {}
            }
            let known = self.seen.lock().await.considered.clone();
            folders.follow(&known.paths());
            let Some(mut found) = look(&known).await else {
                continue;
            };
            if known.changed(&found).is_empty() {
                continue;
            }
            loop {
                sleep(QUIET).await;
                let Some(again) = look(&found).await else {
                    break;
                };
                if found.changed(&again).is_empty() {
                    break;
                }
                found = again;
            }
            // Someone else may have loaded the change in the meantime.
            let considered = self.seen.lock().await.considered.clone();
            if !considered.changed(&found).is_empty() {
                self.reload(Cause::File).await;
            }
        }
    }
}

/// The files of `known` as they are now; `None` if the runtime is shutting down.
async fn look(known: &Fingerprint) -> Option<Fingerprint> {
    let known = known.clone();
    let looking = tokio::task::spawn_blocking(move || known.again(&known.paths()));
    looking.await.ok()
}

/// The folders of the watched files, as far as the system reports changes in them.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

impl Folders {
    fn new(nudge: Arc<Notify>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Our own reading is an event too, and would call for the next.
            if event.is_ok_and(|event| writes(event.kind)) {
                nudge.notify_one();
            }
        });
        if let Err(error) = &watcher {
            tracing::info!(%error, "the system reports no file changes; files are read every second");
        }
        Self {
            watcher: watcher.ok(),
            watched: BTreeSet::new(),
        }
    }

    fn follow(&mut self, files: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = files.iter().map(|file| folder(file)).collect();
        for folder in self.watched.difference(&wanted) {
            // A folder that is gone is no longer watched anyway.
            let _ = watcher.unwatch(folder);
        }
        for folder in wanted.difference(&self.watched) {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                let folder = folder.display();
                tracing::debug!(%folder, %error, "changes of this folder are only polled for");
            }
        }
        self.watched = wanted;
    }
}

fn folder(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn writes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
