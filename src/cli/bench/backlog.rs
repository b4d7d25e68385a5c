//! Requests that are due and have no connection yet.

use std::collections::VecDeque;

use tokio::time::Instant;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Decides its viewer's country.
    pub(super) number: u64,
    /// When it should have been sent.
    pub(super) at: Instant,
}

/// A queue with a bound, oldest first.
#[derive(Debug)]
pub(super) struct Backlog {
    waiting: VecDeque<Due>,
    most: usize,
}

/// There is no room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Backlog {
    /// An empty one for so many.
    pub(super) fn new(most: usize) -> Self {
        Self {
            waiting: VecDeque::new(),
            most,
        }
    }

    /// Puts one at the end. So many are about to be taken by free connections, and do not count.
    pub(super) fn push(&mut self, due: Due, free: usize) -> Result<(), Full> {
        if self.waiting.len() >= self.most.saturating_add(free) {
            return Err(Full);
        }
        self.waiting.push_back(due);
        Ok(())
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Due> {
        self.waiting.pop_front()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// When the oldest was due.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.waiting.front().map(|due| due.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_and_gives_the_oldest_first() {
        let due = |number| Due {
            number,
            at: Instant::now(),
        };
        let mut backlog = Backlog::new(2);
        assert_eq!(backlog.push(due(1), 0), Ok(()));
        assert_eq!(backlog.push(due(2), 0), Ok(()));
        assert_eq!(backlog.push(due(3), 0), Err(Full));
        assert_eq!(backlog.push(due(3), 1), Ok(()));
        assert_eq!(backlog.pop().map(|due| due.number), Some(1));
        assert_eq!(backlog.len(), 2);
        assert_eq!(backlog.oldest(), Some(Instant::now()));
    }
}
