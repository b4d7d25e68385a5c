//! Processes that end with this program, and their children with them.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process_group, set_child_subreaper, waitpgid,
};

/// A running process; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    running: Running,
}

impl Process {
    /// Its number.
    #[allow(dead_code, reason = "not every bench asks for it")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    #[allow(dead_code, reason = "not every bench asks for it")]
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.running.remove(&self.child);
        // Once it has been waited for, its number may be another's.
        if matches!(self.child.try_wait(), Ok(None)) {
            end(self.child.id());
        }
        let _ = self.child.wait();
        while let Some(group) = group(self.child.id())
            && let Ok(Some(_)) = waitpgid(group, WaitOptions::empty())
        {}
    }
}

/// The processes to end when this program is told to end.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Vec<u32>>>);

impl Running {
    /// Starts a process, in a group of its own: nginx has workers that outlive their master.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Process> {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.process_group(0).spawn()?;
        ids.push(child.id());
        let running = self.clone();
        Ok(Process { child, running })
    }

    fn remove(&self, child: &Child) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|id| *id != child.id());
    }

    /// Ends them when this program is told to end.
    pub(crate) fn end_with_us(&self) {
        // What children leave behind is ours to wait for; else it may stay as a zombie.
        let _ = set_child_subreaper(Some(getpid()));
        let running = self.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async {
                use tokio::signal::unix::{SignalKind, signal};
                let mut interrupt = signal(SignalKind::interrupt())?;
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                running.end_and_exit();
                #[expect(unreachable_code, reason = "it gives the block its type")]
                io::Result::Ok(())
            })
        });
    }

    /// Ends all of them and this program; none can start in between.
    fn end_and_exit(&self) -> ! {
        let ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.iter() {
            end(*id);
        }
        std::process::exit(130)
    }
}

/// Ends a process that has not been waited for, and all of its group.
fn end(id: u32) {
    if let Some(group) = group(id) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The group that a process of ours leads.
fn group(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw)
}
