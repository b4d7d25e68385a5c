//! What became of the requests.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;

use crate::cli::bench::fault::{FaultKind, RequestFault};
use crate::cli::bench::latencies::Latencies;
use crate::cli::counts::add;

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoadAnswer {
    pub(super) status: StatusCode,
    /// Of its body.
    pub(super) bytes: u64,
    /// The region that gave it, if it says so.
    pub(super) region: Option<String>,
}

/// A request that was sent and has ended.
#[derive(Clone, Debug)]
pub(super) struct EndedRequest {
    /// Since it was due.
    pub(super) latency: Duration,
    /// Since a connection took it.
    pub(super) service: Duration,
    /// Its viewer's country, as its place in the mix.
    pub(super) country: Option<usize>,
    pub(super) outcome: Result<LoadAnswer, RequestFault>,
}

/// Why a request was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// No room among those that wait for a connection.
    QueueFull,
    /// No connection before its time was over.
    TooLate,
}

/// How often one kind of fault came, and the first one's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FaultCount {
    pub(super) count: u64,
    pub(super) first: String,
}

/// What is counted for each country, and once more for all.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    /// Were due.
    pub(super) due: u64,
    pub(super) answered: u64,
    /// Ended without a whole answer, sent or not.
    pub(super) failed: u64,
    /// Of the answers, since each request was due.
    pub(super) latency: Latencies,
    /// Answers by region, where they say it.
    pub(super) regions: BTreeMap<String, u64>,
}

impl Share {
    fn include(&mut self, other: &Self) {
        self.due += other.due;
        self.answered += other.answered;
        self.failed += other.failed;
        self.latency.add(&other.latency);
        include(&mut self.regions, &other.regions);
    }

    fn answered(&mut self, latency: Duration, region: Option<&str>) {
        self.answered += 1;
        self.latency.record(latency);
        if let Some(region) = region {
            add(&mut self.regions, region);
        }
    }
}

/// Counts of one worker in one second, or the sum of many of them.
#[derive(Clone, Debug, Default)]
pub(super) struct LoadTally {
    pub(super) all: Share,
    /// By place in the mix.
    pub(super) countries: Vec<Share>,
    /// Found no connection free when they were due.
    pub(super) queued: u64,
    pub(super) queue_full: u64,
    pub(super) too_late: u64,
    pub(super) sent: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) bytes: u64,
    pub(super) faults: BTreeMap<FaultKind, FaultCount>,
    /// Of the answers, since a connection took the request.
    pub(super) service: Latencies,
    /// How long after they were due this machine came to look at requests.
    pub(super) lateness: Latencies,
}

impl LoadTally {
    /// An empty one for a mix of so many countries.
    pub(super) fn new(countries: usize) -> Self {
        Self {
            countries: vec![Share::default(); countries],
            ..Self::default()
        }
    }

    /// A request was due so long ago.
    pub(super) fn due(&mut self, country: Option<usize>, lateness: Duration) {
        self.lateness.record(lateness);
        self.shares(country, |share| share.due += 1);
    }

    /// A request will not be sent.
    pub(super) fn unsent(&mut self, country: Option<usize>, why: Unsent) {
        match why {
            Unsent::QueueFull => self.queue_full += 1,
            Unsent::TooLate => self.too_late += 1,
        }
        self.shares(country, |share| share.failed += 1);
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, ended: &EndedRequest) {
        match &ended.outcome {
            Ok(answer) => {
                *self.statuses.entry(answer.status.as_u16()).or_default() += 1;
                self.bytes += answer.bytes;
                self.service.record(ended.service);
                let region = answer.region.as_deref();
                self.shares(ended.country, |share| share.answered(ended.latency, region));
            }
            Err(fault) => {
                self.fault(fault.kind, 1, &fault.text);
                self.shares(ended.country, |share| share.failed += 1);
            }
        }
    }

    /// Counts what another counted too.
    pub(super) fn include(&mut self, other: &Self) {
        self.all.include(&other.all);
        if self.countries.len() < other.countries.len() {
            self.countries
                .resize(other.countries.len(), Share::default());
        }
        for (share, more) in self.countries.iter_mut().zip(&other.countries) {
            share.include(more);
        }
        self.queued += other.queued;
        self.queue_full += other.queue_full;
        self.too_late += other.too_late;
        self.sent += other.sent;
        include(&mut self.statuses, &other.statuses);
        self.bytes += other.bytes;
        for (kind, fault) in &other.faults {
            self.fault(*kind, fault.count, &fault.first);
        }
        self.service.add(&other.service);
        self.lateness.add(&other.lateness);
    }

    /// Were never sent.
    pub(super) fn never_sent(&self) -> u64 {
        self.queue_full + self.too_late
    }

    /// Were sent and got no whole answer.
    pub(super) fn faulty(&self) -> u64 {
        self.faults.values().map(|fault| fault.count).sum()
    }

    /// Had not ended yet.
    pub(super) fn unfinished(&self) -> u64 {
        let ended = self.all.answered + self.all.failed;
        self.all.due.saturating_sub(ended)
    }

    fn fault(&mut self, kind: FaultKind, count: u64, text: &str) {
        let known = self.faults.entry(kind).or_insert_with(|| FaultCount {
            count: 0,
            first: text.to_owned(),
        });
        known.count += count;
    }

    fn shares(&mut self, country: Option<usize>, change: impl Fn(&mut Share)) {
        change(&mut self.all);
        if let Some(share) = country.and_then(|place| self.countries.get_mut(place)) {
            change(share);
        }
    }
}

fn include<K: Ord + Clone>(counts: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (kind, count) in more {
        *counts.entry(kind.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ended(country: usize, outcome: Result<&str, FaultKind>) -> EndedRequest {
        EndedRequest {
            latency: MS * 20,
            service: MS * 5,
            country: Some(country),
            outcome: match outcome {
                Ok(region) => Ok(LoadAnswer {
                    status: StatusCode::OK,
                    bytes: 10,
                    region: Some(region.to_owned()),
                }),
                Err(kind) => Err(RequestFault::new(kind, "the first of them")),
            },
        }
    }

    fn busy() -> LoadTally {
        let mut tally = LoadTally::new(2);
        for number in 0..6 {
            tally.due(Some(number % 2), MS);
        }
        tally.unsent(Some(0), Unsent::QueueFull);
        tally.unsent(Some(0), Unsent::TooLate);
        tally.ended(&ended(0, Ok("eu")));
        tally.ended(&ended(1, Ok("us")));
        tally.ended(&ended(1, Err(FaultKind::TimedOut)));
        tally
    }

    #[test]
    fn every_request_that_was_due_is_counted_once() {
        let tally = busy();
        assert_eq!(
            (tally.all.due, tally.all.answered, tally.faulty()),
            (6, 2, 1)
        );
        assert_eq!((tally.never_sent(), tally.unfinished()), (2, 1));
        assert_eq!((tally.statuses[&200], tally.bytes), (2, 20));
        let [first, second] = &tally.countries[..] else {
            panic!("there are two countries");
        };
        assert_eq!((first.due, first.answered, first.failed), (3, 1, 2));
        assert_eq!((second.regions["us"], second.failed), (1, 1));
    }

    #[test]
    fn two_tallies_add_up() {
        let mut sum = LoadTally::default();
        sum.include(&busy());
        sum.include(&busy());
        assert_eq!(
            (sum.all.due, sum.all.answered, sum.unfinished()),
            (12, 4, 2)
        );
        assert_eq!(sum.countries[1].regions["us"], 2);
        assert_eq!(sum.faults[&FaultKind::TimedOut].count, 2);
        let latency = sum.all.latency.summary();
        assert!(latency.p50 >= MS * 20 && sum.service.summary().max < MS * 6);
    }
}
