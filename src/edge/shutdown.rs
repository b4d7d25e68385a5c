//! That a listener shuts down, as its connections learn of it.

use tokio::sync::watch;

/// The listener's end of a [`ShutdownSignal`]: dropping it is the signal.
#[derive(Debug)]
pub struct ShutdownGuard(#[expect(dead_code, reason = "only its end matters")] watch::Sender<()>);

/// Tells, once and for all, that the listener shuts down.
#[derive(Clone, Debug)]
pub struct ShutdownSignal(watch::Receiver<()>);

impl ShutdownSignal {
    /// A signal that was not given yet, and the guard that gives it when it goes.
    #[must_use]
    pub fn new() -> (ShutdownGuard, Self) {
        let (guard, signal) = watch::channel(());
        (ShutdownGuard(guard), Self(signal))
    }

    /// Whether it was given; one atomic read.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until it is given.
    pub async fn given(&self) {
        let mut shutdown = self.0.clone();
        while shutdown.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_signal_is_given_when_its_guard_goes() {
        let (guard, shutdown) = ShutdownSignal::new();
        assert!(!shutdown.is_given());
        drop(guard);
        assert!(shutdown.is_given());
        shutdown.given().await;
    }
}
