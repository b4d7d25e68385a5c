//! What a process and its children have used, by the kernel's own books.

use std::fs;
use std::io;
use std::time::Duration;

/// Time on a processor of all threads of the process and of its children, by the scheduler's clock
/// (`/proc/PID/task/TID/schedstat`): in nanoseconds, where `stat` counts ticks.
pub(crate) fn time(pid: u32) -> io::Result<Duration> {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // A thread may end while it is looked at.
        let Ok(text) = fs::read_to_string(task.join("schedstat")) else {
            continue;
        };
        let on_cpu = text.split_whitespace().next();
        nanos += on_cpu.and_then(|text| text.parse().ok()).unwrap_or(0);
    }
    let mut sum = Duration::from_nanos(nanos);
    for child in children(pid) {
        sum += time(child).unwrap_or_default();
    }
    Ok(sum)
}

/// Ticks of the process and its children, outside the kernel and in it (`utime` and `stime` of
/// `/proc/PID/stat`, fields 14 and 15). A tick is a hundredth of a second: good for a share of
/// seconds, where [`time`] says how much it was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ticks {
    own: u64,
    kernel: u64,
}

impl Ticks {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name, which may hold anything but a line's end.
        let after_name = text.rsplit(')').next().unwrap_or_default();
        let mut fields = after_name.split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse().ok());
        let (Some(own), Some(kernel)) = (ticks(), ticks()) else {
            return Err(io::Error::other("the kernel says no ticks"));
        };
        let mut sum = Self { own, kernel };
        for child in children(pid) {
            let of_child = Self::of(child).unwrap_or_default();
            sum.own += of_child.own;
            sum.kernel += of_child.kernel;
        }
        Ok(sum)
    }

    /// The share of the time since `before` that was outside the kernel.
    #[expect(clippy::cast_precision_loss, reason = "ticks far below 2^52")]
    pub(crate) fn own_share_since(self, before: Self) -> f64 {
        let own = self.own.saturating_sub(before.own) as f64;
        let kernel = self.kernel.saturating_sub(before.kernel) as f64;
        if own + kernel > 0.0 {
            own / (own + kernel)
        } else {
            0.0
        }
    }
}

/// Bytes of memory of the process and of its children, pages that several map shared out among
/// them (`Pss` of `/proc/PID/smaps_rollup`). What the kernel keeps for sockets is not in it.
pub(crate) fn memory(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let kibibytes = kibibytes.ok_or_else(|| io::Error::other("the kernel says no Pss"))?;
    let children = children(pid).into_iter();
    Ok(kibibytes * 1024 + children.filter_map(|child| memory(child).ok()).sum::<u64>())
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let lists = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let each = lists.flat_map(|list| {
        let each: Vec<_> = list
            .split_whitespace()
            .filter_map(|id| id.parse().ok())
            .collect();
        each
    });
    each.collect()
}
