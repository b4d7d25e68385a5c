//! Waking up in time.

use tokio::time::Instant;

/// Sleeps until a moment.
#[derive(Debug)]
pub(super) enum Alarm {
    /// The kernel's timer: microseconds late.
    #[cfg(target_os = "linux")]
    Precise(tokio::net::unix::pipe::Receiver),
    /// The runtime's: up to a millisecond late, and tests can hold it.
    Coarse,
}

impl Alarm {
    /// The best this system has; belongs to the runtime it is called on.
    pub(super) fn best() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = precise::timer() {
            return Self::Precise(timer);
        }
        Self::Coarse
    }

    /// Sleeps until then; not at all if it is past.
    pub(super) async fn until(&self, moment: Instant) {
        #[cfg(target_os = "linux")]
        if let Self::Precise(timer) = self
            && precise::until(timer, moment).await.is_ok()
        {
            return;
        }
        tokio::time::sleep_until(moment).await;
    }
}

#[cfg(target_os = "linux")]
mod precise {
    use std::io;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;
    use tokio::time::Instant;

    /// A kernel's timer is read like a pipe: eight bytes when it has rung. The runtime's general
    /// wrapper of descriptors takes unsafe code to make, its pipe does not.
    pub(super) fn timer() -> io::Result<Receiver> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Receiver::from_owned_fd_unchecked(timer)
    }

    pub(super) async fn until(timer: &Receiver, moment: Instant) -> io::Result<()> {
        let left = moment.saturating_duration_since(Instant::now());
        // A time of zero would turn the timer off.
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(left).map_err(io::Error::other)?,
        };
        timerfd_settime(timer, TimerfdTimerFlags::empty(), &once)?;
        loop {
            timer.readable().await?;
            match timer.try_read(&mut [0; 8]) {
                // It was an earlier ring that is heard only now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                rung => return rung.map(drop),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_rings_again_and_again_and_never_early() {
        let alarm = Alarm::best();
        for _ in 0..20 {
            let moment = Instant::now() + Duration::from_micros(300);
            alarm.until(moment).await;
            assert!(Instant::now() >= moment);
        }
        alarm.until(Instant::now()).await;
    }
}
