//! What survives a restart: keeps beliefs and the last good configuration on disk, and reads them
//! back.

pub(crate) mod last_good;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use crate::board::{Board, Live};
use crate::clock::Clock;
use crate::resources::Resources;
use crate::resources::state_dir::StateDir;
use crate::state::last_good::LastGood;
use crate::telemetry::metrics::{MetricsRegistry, families};
use meridian_core::apply::{BELIEFS_LAST, Event, FORMAT, SavedBeliefs};
use meridian_core::config::Config;

/// The file of the beliefs.
pub const BELIEFS: &str = "state.json";

/// Between two writings at least: a region that falls is on disk a second later, and a storm of
/// changes costs one synchronised write a second.
const GAP: Duration = Duration::from_secs(1);

/// Figures that move all the time, as latencies do, are written this often. They count for a
/// minute, so that a restart finds most of them young.
const REFRESH: Duration = Duration::from_secs(15);

/// How long the last writing may take: a file system that hangs must not hold up the end.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What an earlier process left in the directory of `resources`, as the event that takes it over.
/// Whatever is wrong with it is said and stops nothing: a start without it is a start as any other.
#[must_use]
pub fn restore(resources: &Resources, clock: Clock) -> Option<Event> {
    let dir = resources.state.as_ref()?;
    let file = dir.path().join(BELIEFS);
    let file = file.display();
    let text = match dir.read(BELIEFS) {
        Ok(Some(text)) => text,
        Ok(None) => {
            tracing::info!(%file, "nothing is known from before: there is no such file yet");
            return None;
        }
        Err(error) => {
            tracing::warn!(%file, %error, "what is known from before cannot be read and is ignored");
            return None;
        }
    };
    let saved = match parse(&text) {
        Ok(saved) => saved,
        Err(error) => {
            tracing::warn!(%file, %error, "what is known from before cannot be understood and is ignored");
            return None;
        }
    };
    let away = saved.age(clock.unix());
    let age_seconds = away.as_secs_f64();
    if away > BELIEFS_LAST {
        tracing::warn!(%file, age_seconds, "health and latency from before are too old and ignored");
    } else {
        let out = saved.out().join(", ");
        tracing::info!(%file, age_seconds, out, "what was known before the restart holds on");
    }
    Some(Event::Restored {
        saved: Arc::new(saved),
        away,
        keep_names: resources.config.dns.keep_last_good,
    })
}

/// Why a file is not taken for beliefs.
#[derive(Debug, thiserror::Error)]
enum NotUnderstood {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it is of format {0}, and this version reads {FORMAT}")]
    Format(u32),
}

fn parse(text: &str) -> Result<SavedBeliefs, NotUnderstood> {
    /// What every format has.
    #[derive(serde::Deserialize)]
    struct Any {
        format: u32,
    }
    let Any { format } = serde_json::from_str(text)?;
    if format != FORMAT {
        return Err(NotUnderstood::Format(format));
    }
    Ok(serde_json::from_str(text)?)
}

/// Writes what is worth keeping, while there is a directory to keep it in.
#[derive(Debug)]
pub struct StateStore {
    board: Board,
    clock: Clock,
    /// What is on disk; held while something is written, so that writings take turns.
    written: Arc<Mutex<Option<WrittenState>>>,
    failures: Counter,
    last_write: Gauge,
    failing: AtomicBool,
}

/// What is on disk.
#[derive(Debug)]
struct WrittenState {
    dir: StateDir,
    at: Instant,
    beliefs: SavedBeliefs,
    /// Of the configuration that is kept beside them.
    content_hash: u64,
}

impl StateStore {
    /// A store of what `board` publishes.
    #[must_use]
    pub fn new(board: Board, clock: Clock, registry: &MetricsRegistry) -> Self {
        Self {
            board,
            clock,
            written: Arc::default(),
            failures: registry.counter(&families::STATE_WRITE_FAILURES, &[]),
            last_write: registry.gauge(&families::STATE_LAST_WRITE, &[]),
            failing: AtomicBool::new(false),
        }
    }

    /// Writes after changes, at most once a second, until the board is gone.
    pub async fn keep(self: Arc<Self>) {
        let mut revisions = self.board.revisions();
        loop {
            revisions.borrow_and_update();
            Arc::clone(&self).write(false).await;
            sleep(GAP).await;
            if revisions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Writes what is believed at the end.
    pub async fn finish(self: Arc<Self>) {
        let writing = Arc::clone(&self).write(true);
        if tokio::time::timeout(LAST_WRITE, writing).await.is_err() {
            tracing::warn!("the state could not be written in time; the writing before holds");
        }
    }

    /// Writes what is believed now, if it differs from what is on disk in a way that matters, if
    /// that has grown old, or if it is the `last` chance.
    async fn write(self: Arc<Self>, last: bool) {
        let mut on_disk = Arc::clone(&self.written).lock_owned().await;
        let live = self.board.live();
        let Some(dir) = live.resources.state.clone() else {
            return;
        };
        let beliefs = SavedBeliefs::of(&live.beliefs, self.clock.now(), self.clock.unix());
        let before = on_disk.as_ref().filter(|before| before.dir == dir);
        let is_news = |before: &WrittenState| {
            !before.beliefs.means_the_same(&beliefs) || before.at.elapsed() >= REFRESH
        };
        if !last && !before.is_none_or(is_news) {
            return;
        }
        let written = WrittenState {
            dir,
            at: Instant::now(),
            beliefs,
            content_hash: live.resources.config.content_hash,
        };
        let text_changed = before.is_none_or(|before| before.content_hash != written.content_hash);
        let writing = tokio::task::spawn_blocking(move || {
            let result = put(&written, text_changed.then_some(&*live));
            self.note(&written.dir, &result);
            if result.is_ok() {
                *on_disk = Some(written);
            }
        });
        // A panic in there has been reported; the next change tries again.
        let _ = writing.await;
    }

    fn note(&self, dir: &StateDir, result: &std::io::Result<()>) {
        let dir = dir.path().display();
        match result {
            Ok(()) => {
                self.last_write.set(self.clock.unix().as_secs() as f64);
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(%dir, "the state can be written again");
                }
            }
            Err(error) => {
                self.failures.increment(1);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %dir,
                        %error,
                        "the state cannot be written: a restart would not know of now"
                    );
                }
            }
        }
    }
}

/// Writes the beliefs, and the configuration of `live` if one is given.
fn put(written: &WrittenState, live: Option<&Live>) -> std::io::Result<()> {
    let beliefs = serde_json::to_string(&written.beliefs)?;
    written.dir.write(BELIEFS, &beliefs)?;
    live.map_or(Ok(()), |live| {
        keep_config(&written.dir, &live.resources.config)
    })
}

fn keep_config(dir: &StateDir, config: &Config) -> std::io::Result<()> {
    let text = LastGood::of(config)?
        .to_toml()
        .map_err(std::io::Error::other)?;
    dir.write(last_good::FILE, &text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rubbish_half_a_file_and_another_format_are_not_understood() {
        let whole = r#"{"format":2,"written_unix_ms":5,"generation":1,"regions":[]}"#;
        assert_eq!(parse(whole).unwrap().written_unix_ms, 5);
        for half in 0..whole.len() {
            assert!(parse(&whole[..half]).is_err(), "{half}");
        }
        let newer = r#"{"format":3,"beliefs":"in another form"}"#;
        let error = parse(newer).unwrap_err().to_string();
        assert_eq!(error, "it is of format 3, and this version reads 2");
        for rubbish in ["", "[]", "{}", "\0\0\0", r#"{"format":"2"}"#] {
            assert!(parse(rubbish).is_err(), "{rubbish}");
        }
    }
}
