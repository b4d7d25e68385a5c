//! Where requests that are due meet connections that are free.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cli::bench::mix::CountryMix;
use crate::cli::bench::tally::{EndedRequest, LoadTally, Unsent};

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Decides its viewer's country.
    pub(super) number: u64,
    /// When it should have been sent.
    pub(super) at: Instant,
}

/// Requests that have not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) requests: u64,
    /// How long ago the oldest was due.
    pub(super) oldest: Option<Duration>,
}

/// A worker's requests: they come when they are due, connections take them when they can.
#[derive(Debug)]
pub(super) struct DispatchQueue {
    /// What is due and has no connection yet, the oldest first.
    backlog: RefCell<VecDeque<Due>>,
    /// How many may wait there.
    most: usize,
    arrivals: Notify,
    is_closed: Cell<bool>,
    /// Connections that wait for a request.
    idle: Cell<usize>,
    /// When the request at each connection was due.
    under_way: RefCell<Vec<Option<Instant>>>,
    tally: RefCell<LoadTally>,
    mix: Option<CountryMix>,
    seed: u64,
}

impl DispatchQueue {
    /// One for so many connections, at which so many requests may wait.
    pub(super) fn new(places: usize, queue: usize, mix: Option<CountryMix>, seed: u64) -> Self {
        let countries = mix.as_ref().map_or(0, |mix| mix.countries().len());
        Self {
            backlog: RefCell::default(),
            most: queue,
            arrivals: Notify::new(),
            is_closed: Cell::new(false),
            idle: Cell::new(0),
            under_way: RefCell::new(vec![None; places]),
            tally: RefCell::new(LoadTally::new(countries)),
            mix,
            seed,
        }
    }

    /// From where a request's viewer is, as a place in the mix.
    pub(super) fn country(&self, number: u64) -> Option<usize> {
        let mix = self.mix.as_ref()?;
        Some(mix.pick(self.seed, number))
    }

    /// A request was due so long ago.
    pub(super) fn put(&self, due: Due, lateness: Duration) {
        let country = self.country(due.number);
        let mut tally = self.tally.borrow_mut();
        tally.due(country, lateness);
        let mut backlog = self.backlog.borrow_mut();
        let free = self.idle.get();
        tally.queued += u64::from(backlog.len() >= free);
        // As many as connections are free are about to be taken, and do not count.
        if backlog.len() < self.most.saturating_add(free) {
            backlog.push_back(due);
            self.arrivals.notify_one();
        } else {
            tally.unsent(country, Unsent::QueueFull);
        }
    }

    /// No more requests will be due.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.arrivals.notify_waiters();
    }

    /// The request that is due the longest, once there is one; `None` when there will be none.
    pub(super) async fn next(&self) -> Option<Due> {
        loop {
            // Listening begins before the look, so that no arrival falls between.
            let arrival = self.arrivals.notified();
            if let Some(due) = self.backlog.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.is_closed.get() {
                return None;
            }
            self.idle.set(self.idle.get() + 1);
            arrival.await;
            self.idle.set(self.idle.get() - 1);
        }
    }

    /// A request waited longer than it may.
    pub(super) fn too_late(&self, country: Option<usize>) {
        self.tally.borrow_mut().unsent(country, Unsent::TooLate);
    }

    /// The connection of this place takes a request.
    pub(super) fn begin(&self, place: usize, due: Instant) {
        self.tally.borrow_mut().sent += 1;
        self.under_way.borrow_mut()[place] = Some(due);
    }

    /// It is done with it.
    pub(super) fn end(&self, place: usize, ended: &EndedRequest) {
        self.under_way.borrow_mut()[place] = None;
        self.tally.borrow_mut().ended(ended);
    }

    /// What has not ended.
    pub(super) fn pending(&self) -> Pending {
        let under_way = self.under_way.borrow();
        let backlog = self.backlog.borrow();
        let oldest = under_way
            .iter()
            .copied()
            .flatten()
            .chain(backlog.front().map(|due| due.at));
        Pending {
            requests: (under_way.iter().flatten().count() + backlog.len()) as u64,
            oldest: oldest.min().map(|due| due.elapsed()),
        }
    }

    /// What was counted since the last time.
    pub(super) fn take_tally(&self) -> LoadTally {
        let mut tally = self.tally.borrow_mut();
        let empty = LoadTally::new(tally.countries.len());
        std::mem::replace(&mut tally, empty)
    }
}
