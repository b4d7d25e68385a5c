//! A listener's door, as those see it that came in through it.

use tokio::sync::watch;

/// Keeps a door open until it is dropped.
#[derive(Debug)]
pub struct Keeper(#[expect(dead_code, reason = "only its end matters")] watch::Sender<()>);

/// A door that closes once and for all.
#[derive(Clone, Debug)]
pub struct Door(watch::Receiver<()>);

impl Door {
    /// An open door, and what keeps it open.
    #[must_use]
    pub fn open() -> (Keeper, Self) {
        let (keeper, door) = watch::channel(());
        (Keeper(keeper), Self(door))
    }

    /// Whether it is closed; one atomic read.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until it is closed.
    pub async fn closed(&self) {
        let mut door = self.0.clone();
        while door.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_door_closes_when_its_keeper_goes() {
        let (keeper, door) = Door::open();
        assert!(!door.is_closed());
        drop(keeper);
        assert!(door.is_closed());
        door.closed().await;
    }
}
