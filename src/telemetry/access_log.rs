//! One JSON line per request, without a request ever waiting for the disk.
//!
//! Each worker fills a buffer of its own and hands it to one writer thread over a bounded
//! channel. When the sink is slow, whole buffers are dropped and counted.

mod line;

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use metrics::Counter;

use crate::telemetry::access_log::line::USUAL_LINE;
use crate::telemetry::metrics::{MetricsRegistry, families};
use crate::telemetry::record::RequestRecord;
use meridian_core::config::AccessLogConfig;
use meridian_core::table::RoutingTable;

/// A buffer this full is handed over: some ninety lines, so that a line has little of the wake-up and
/// the write that a buffer costs.
const FLUSH_BYTES: usize = 64 << 10;
/// Buffers on the way to the writer; with [`FLUSH_BYTES`] about a mebibyte at most.
const WAITING_BUFFERS: usize = 16;

/// What workers, writer and control side share.
#[derive(Debug)]
struct LogSettings {
    enabled: AtomicBool,
    /// The bits of an `f64`: the share of unremarkable requests to write.
    sample: AtomicU64,
    dropped: Counter,
    /// Where to write, from the next buffer on.
    target: Mutex<Option<PathBuf>>,
    reopen: AtomicBool,
}

/// Lines on their way to the writer.
#[derive(Debug)]
struct LineBatch {
    bytes: Vec<u8>,
    records: u64,
}

/// The control side's handle. When it and every worker's handle are gone the writer ends.
#[derive(Debug)]
pub struct AccessLog {
    shared: Arc<LogSettings>,
    /// Closes when the writer has ended.
    ended: Mutex<Receiver<Infallible>>,
}

impl AccessLog {
    /// Opens the sink and starts the writer thread; gives one handle per worker.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or no thread can be started.
    pub fn start(
        config: &AccessLogConfig,
        workers: usize,
        registry: &MetricsRegistry,
    ) -> io::Result<(Self, Vec<WorkerLog>)> {
        let sink: Box<dyn Write + Send> = match (&config.path, config.enabled) {
            (Some(path), true) => Box::new(open(path)?),
            _ => Box::new(io::stdout()),
        };
        Self::to_sink(sink, config, workers, registry)
    }

    /// As [`AccessLog::start`], into any writer.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to_sink(
        sink: Box<dyn Write + Send>,
        config: &AccessLogConfig,
        workers: usize,
        registry: &MetricsRegistry,
    ) -> io::Result<(Self, Vec<WorkerLog>)> {
        let shared = Arc::new(LogSettings {
            enabled: AtomicBool::new(config.enabled),
            sample: AtomicU64::new(config.sample.to_bits()),
            dropped: registry.counter(&families::LOG_DROPS, &[]),
            target: Mutex::new(config.path.clone()),
            reopen: AtomicBool::new(false),
        });
        let (sender, receiver) = sync_channel(WAITING_BUFFERS);
        let for_writer = Arc::clone(&shared);
        let (alive, ended) = sync_channel(0);
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                write_all(&receiver, sink, &for_writer);
                drop(alive);
            })?;
        let handles = (0..workers)
            .map(|_| WorkerLog {
                shared: Arc::clone(&shared),
                sender: sender.clone(),
                buffer: Vec::new(),
                records: 0,
                dice: fastrand::Rng::new(),
            })
            .collect();
        Ok((
            Self {
                shared,
                ended: Mutex::new(ended),
            },
            handles,
        ))
    }

    /// Takes over what a reload changed. The file is opened again before the next line, also
    /// when its path stayed: that is how a rotated file is let go.
    pub fn reconfigure(&self, config: &AccessLogConfig) {
        let target = &self.shared.target;
        target
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&config.path);
        self.shared
            .sample
            .store(config.sample.to_bits(), Ordering::Relaxed);
        self.shared.enabled.store(config.enabled, Ordering::Relaxed);
        self.shared.reopen.store(true, Ordering::Release);
    }

    /// Waits until everything handed over is written, `limit` at most: a sink that blocks must
    /// not keep the process from ending. Tells whether all was written. The workers' handles
    /// must be gone by then. Blocks the thread.
    #[must_use]
    pub fn finish(&self, limit: Duration) -> bool {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}

/// One worker's side; lives on the worker's thread.
#[derive(Debug)]
pub struct WorkerLog {
    shared: Arc<LogSettings>,
    sender: SyncSender<LineBatch>,
    buffer: Vec<u8>,
    records: u64,
    dice: fastrand::Rng,
}

impl WorkerLog {
    /// Writes `record` into the buffer, if it is notable or sampling picks it. `table` is the
    /// one the request was decided on.
    pub fn push(&mut self, record: &RequestRecord, table: &RoutingTable) {
        if !self.is_enabled() {
            return;
        }
        let sample = f64::from_bits(self.shared.sample.load(Ordering::Relaxed));
        if !record.is_notable() && sample < 1.0 && self.dice.f64() >= sample {
            return;
        }
        record.write_json(table, &mut self.buffer);
        self.records += 1;
        if self.buffer.len() >= FLUSH_BYTES {
            self.flush_due();
        }
    }

    /// Whether lines are written at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.enabled.load(Ordering::Relaxed)
    }

    /// Hands over what has gathered. To be called several times a second, so that a quiet worker's
    /// lines do not wait; never blocks.
    pub fn flush_due(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let lines = LineBatch {
            bytes: std::mem::replace(
                &mut self.buffer,
                Vec::with_capacity(FLUSH_BYTES + USUAL_LINE),
            ),
            records: std::mem::take(&mut self.records),
        };
        if let Err(TrySendError::Full(lines) | TrySendError::Disconnected(lines)) =
            self.sender.try_send(lines)
        {
            self.shared.dropped.increment(lines.records);
        }
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush_due();
    }
}

/// The writer thread: until the last worker is gone.
fn write_all(lines: &Receiver<LineBatch>, mut sink: Box<dyn Write + Send>, shared: &LogSettings) {
    let mut failing = false;
    while let Ok(lines) = lines.recv() {
        if shared.reopen.swap(false, Ordering::Acquire) {
            reopen(&mut sink, shared);
        }
        let written = sink.write_all(&lines.bytes).and_then(|()| sink.flush());
        if let Err(error) = &written {
            shared.dropped.increment(lines.records);
            // Once per failure, not once per buffer: a full disk stays full for a while.
            if !failing {
                let path = shared.target.lock().unwrap_or_else(PoisonError::into_inner);
                let path = path
                    .as_ref()
                    .map(|path| tracing::field::display(path.display()));
                tracing::warn!(
                    path, %error,
                    "access log lines are lost until it can be written again: is the disk full?"
                );
            }
        }
        failing = written.is_err();
    }
}

fn reopen(sink: &mut Box<dyn Write + Send>, shared: &LogSettings) {
    let target = shared
        .target
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    match target {
        None => *sink = Box::new(io::stdout()),
        Some(path) => match open(&path) {
            Ok(file) => *sink = Box::new(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "access log goes on in the old file");
            }
        },
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::mpsc;

    use http::{Method, Version};

    use super::*;
    use crate::telemetry::metrics::{Exposition, ExpositionFormat};

    const LONG: Duration = Duration::from_secs(60);

    /// Takes a line only when the test lets it.
    struct GatedSink(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for GatedSink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn record(status: u16) -> RequestRecord {
        let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
        let at = Duration::from_secs(1);
        let mut record = RequestRecord::begin(at, peer, Method::GET, Version::HTTP_11);
        record.status = Some(status);
        record
    }

    fn config(sample: f64) -> AccessLogConfig {
        AccessLogConfig {
            sample,
            ..AccessLogConfig::default()
        }
    }

    fn dropped(registry: &MetricsRegistry) -> u64 {
        let mut page = Exposition::default();
        registry.collect(&mut page);
        let text = page.render(ExpositionFormat::default());
        let name = families::LOG_DROPS.name;
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn lines_are_dropped_and_counted_when_the_sink_blocks() {
        let registry = MetricsRegistry::default();
        let (open, gate) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Box::new(GatedSink(gate, Arc::clone(&written)));
        let (log, mut workers) = AccessLog::to_sink(sink, &config(1.0), 1, &registry).unwrap();
        let mut worker = workers.remove(0);
        let sent = WAITING_BUFFERS as u64 + 10;
        for _ in 0..sent {
            worker.push(&record(200), &RoutingTable::default());
            worker.flush_due();
        }
        // The writer holds at most one buffer besides those that wait.
        let dropped = dropped(&registry);
        assert!((9..=10).contains(&dropped), "{dropped}");
        drop(worker);
        drop(open);
        assert!(log.finish(LONG));
        let lines = written
            .lock()
            .unwrap()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        assert_eq!(lines as u64, sent - dropped);
    }

    #[test]
    fn sampling_keeps_every_error() {
        let registry = MetricsRegistry::default();
        let (open, gate) = mpsc::channel();
        drop(open);
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Box::new(GatedSink(gate, Arc::clone(&written)));
        let (log, mut workers) = AccessLog::to_sink(sink, &config(0.0), 1, &registry).unwrap();
        for status in [200, 503, 204, 502] {
            workers[0].push(&record(status), &RoutingTable::default());
        }
        drop(workers);
        assert!(log.finish(LONG));
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(!text.contains("\"status\":20"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_let_go_on_reload() {
        let registry = MetricsRegistry::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let config = AccessLogConfig {
            path: Some(path.clone()),
            ..AccessLogConfig::default()
        };
        let (log, mut workers) = AccessLog::start(&config, 1, &registry).unwrap();
        std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
        log.reconfigure(&config);
        workers[0].push(&record(200), &RoutingTable::default());
        drop(workers);
        assert!(log.finish(LONG));
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 1);
    }
}
