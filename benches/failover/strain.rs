//! A process that the processor is taken from.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How long it stands still at a time, in milliseconds, as a container does that has spent its
/// quota. A quota itself would be spent by how much a proxy needs, and some would never stand still.
const STOPS: RangeInclusive<u64> = 20..=300;
/// It runs for this part of that.
const RUNS: u32 = 9;

/// Stops a process and its group most of the time, until it is dropped.
pub(crate) struct Strain {
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Strain {
    /// On the process of this number, which leads a group.
    pub(crate) fn on(process: u32) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let group = Pid::from_raw(process.cast_signed());
            let tell = |signal| group.map(|group| kill_process_group(group, signal));
            while !over.load(Ordering::Relaxed) {
                let stop = Duration::from_millis(fastrand::u64(STOPS));
                tell(Signal::STOP);
                thread::sleep(stop);
                tell(Signal::CONT);
                thread::sleep(stop / RUNS);
            }
        });
        Self {
            is_over,
            thread: Some(thread),
        }
    }
}

impl Drop for Strain {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
