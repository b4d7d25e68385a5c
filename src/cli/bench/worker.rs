//! One thread's part: sends each request when it is due, over the connections it has.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout_at};

use crate::cli::bench::alarm::Alarm;
use crate::cli::bench::arrivals::Arrivals;
use crate::cli::bench::dispatch_queue::{DispatchQueue, Due, Pending};
use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::load_connection::LoadConnection;
use crate::cli::bench::mix::CountryMix;
use crate::cli::bench::tally::{EndedRequest, LoadTally};

/// A wake-up costs a few microseconds, so that above 10,000 requests a second some share one: they
/// leave up to this much late, which their latency has in it.
const BATCH: Duration = Duration::from_micros(100);

/// What a worker is to do.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) arrivals: Arrivals,
    /// A request is given up so long after it was due.
    pub(super) timeout: Duration,
    /// So many may wait for a connection.
    pub(super) queue: usize,
    pub(super) mix: Option<CountryMix>,
    pub(super) seed: u64,
}

/// What a worker tells.
#[derive(Debug)]
pub(super) enum Update {
    /// So many places for a request are open, or why one is not.
    Ready(usize, Option<RequestFault>),
    /// What was counted since the last time.
    Second(Box<LoadTally>, Pending),
    /// The rest; nothing comes after it.
    Over(Box<LoadTally>),
}

/// Works from `start` until all requests have ended, or until `stop`.
pub(super) async fn work<C: LoadConnection + 'static>(
    orders: Orders,
    connections: Vec<C>,
    start: Instant,
    alarm: &Alarm,
    updates: &Sender<Update>,
    stop: impl Future<Output = ()>,
) {
    let requests = DispatchQueue::new(connections.len(), orders.queue, orders.mix, orders.seed);
    let requests = Rc::new(requests);
    let mut serving = JoinSet::new();
    for (place, connection) in connections.into_iter().enumerate() {
        serving.spawn_local(serve(
            Rc::clone(&requests),
            place,
            connection,
            orders.timeout,
        ));
    }
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(start + second, second);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let all = async {
        dispatch(&requests, orders.arrivals, start, alarm).await;
        requests.close();
        while serving.join_next().await.is_some() {}
    };
    tokio::pin!(all, stop);
    loop {
        tokio::select! {
            () = &mut all => break,
            () = &mut stop => break,
            _ = seconds.tick() => {
                let update = Update::Second(Box::new(requests.take_tally()), requests.pending());
                // Nobody listens any more when it is over.
                let _ = updates.send(update).await;
            }
        }
    }
    let _ = updates
        .send(Update::Over(Box::new(requests.take_tally())))
        .await;
}

/// Puts requests in the queue when they are due.
async fn dispatch(requests: &DispatchQueue, mut arrivals: Arrivals, start: Instant, alarm: &Alarm) {
    while let Some(next) = arrivals.next_due() {
        alarm
            .until((start + next).max(Instant::now() + BATCH))
            .await;
        let elapsed = start.elapsed();
        while let Some((number, at)) = arrivals.take_due(elapsed) {
            let lateness = elapsed.saturating_sub(at);
            let at = start + at;
            requests.put(Due { number, at }, lateness);
        }
    }
}

/// Serves one request after the other until there will be no more.
async fn serve<C: LoadConnection>(
    requests: Rc<DispatchQueue>,
    place: usize,
    mut connection: C,
    timeout: Duration,
) {
    while let Some(due) = requests.next().await {
        let country = requests.country(due.number);
        let sent = Instant::now();
        let deadline = due.at + timeout;
        if deadline <= sent {
            requests.too_late(country);
            continue;
        }
        requests.begin(place, due.at);
        let exchanged = timeout_at(deadline, connection.exchange(country)).await;
        let now = Instant::now();
        requests.end(
            place,
            &EndedRequest {
                latency: now - due.at,
                service: now - sent,
                country,
                outcome: exchanged.unwrap_or_else(|_| Err(RequestFault::late(timeout))),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::sync::mpsc;
    use tokio::task::LocalSet;
    use tokio::time::{sleep, sleep_until};

    use super::*;
    use crate::cli::bench::tally::LoadAnswer;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    /// Later than any of these tests ends.
    const LATER: Duration = Duration::from_secs(1000);

    /// Answers after a while, and says nothing between two moments.
    struct Server {
        start: Instant,
        delay: Duration,
        stall: (Duration, Duration),
    }

    impl LoadConnection for Server {
        async fn open(&mut self) -> Result<(), RequestFault> {
            Ok(())
        }

        async fn exchange(&mut self, _country: Option<usize>) -> Result<LoadAnswer, RequestFault> {
            sleep(self.delay).await;
            let (from, to) = self.stall;
            if (from..to).contains(&self.start.elapsed()) {
                sleep_until(self.start + to).await;
            }
            Ok(LoadAnswer {
                status: StatusCode::OK,
                bytes: 1,
                region: None,
            })
        }
    }

    struct Case {
        rate: u32,
        length: Duration,
        connections: usize,
        timeout: Duration,
        queue: usize,
        stall: (Duration, Duration),
        stop: Duration,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                rate: 1000,
                length: 10 * SECOND,
                connections: 10,
                timeout: 10 * SECOND,
                queue: 100_000,
                stall: (LATER, LATER),
                stop: LATER,
            }
        }
    }

    impl Case {
        /// All that is counted, and all that was pending at the seconds' ends.
        async fn run(self) -> (LoadTally, Vec<Pending>) {
            let start = Instant::now();
            let servers = (0..self.connections).map(|_| Server {
                start,
                delay: MS,
                stall: self.stall,
            });
            let servers = servers.collect();
            let orders = Orders {
                arrivals: Arrivals::new(self.rate, self.length),
                timeout: self.timeout,
                queue: self.queue,
                mix: Some(CountryMix::parse("DE=1,JP=1").unwrap()),
                seed: 1,
            };
            let (updates, mut told) = mpsc::channel(1000);
            let stop = sleep_until(start + self.stop);
            let alarm = Alarm::Coarse;
            let working = work(orders, servers, start, &alarm, &updates, stop);
            LocalSet::new().run_until(working).await;
            drop(updates);
            let (mut all, mut pending) = (LoadTally::default(), Vec::new());
            while let Some(update) = told.recv().await {
                match update {
                    Update::Second(tally, still) => {
                        all.include(&tally);
                        pending.push(still);
                    }
                    Update::Over(tally) => all.include(&tally),
                    Update::Ready(..) => panic!("that is not a worker's to say"),
                }
            }
            (all, pending)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_shows_in_the_latency_though_hardly_in_the_service_time() {
        let case = Case {
            stall: (2 * SECOND, 4 * SECOND),
            ..Case::default()
        };
        let (tally, pending) = case.run().await;
        assert_eq!((tally.all.due, tally.all.answered), (10_000, 10_000));
        let (latency, service) = (tally.all.latency.summary(), tally.service.summary());
        // Ten connections stood still, but two thousand requests were due meanwhile.
        assert!(service.p99 <= 3 * MS, "{service:?}");
        assert!(latency.p99 > 1500 * MS, "{latency:?}");
        assert!(latency.p50 <= 3 * MS, "{latency:?}");
        assert!(latency.max >= 1990 * MS && service.max >= 1990 * MS);
        assert!((1900..=2300).contains(&tally.queued), "{}", tally.queued);
        // After one of its two seconds.
        assert!(pending[2].requests > 900, "{pending:?}");
        assert!(pending[2].oldest.unwrap() > 900 * MS, "{pending:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_in_good_health_gets_all_requests_in_time() {
        let (tally, pending) = Case::default().run().await;
        assert_eq!(
            (tally.all.due, tally.sent, tally.statuses[&200]),
            (10_000, 10_000, 10_000)
        );
        assert_eq!(
            (tally.never_sent(), tally.faulty(), tally.unfinished()),
            (0, 0, 0)
        );
        assert!(tally.all.latency.summary().max <= 4 * MS);
        assert_eq!(tally.countries.len(), 2);
        let by_country: Vec<u64> = tally.countries.iter().map(|it| it.answered).collect();
        assert_eq!(by_country.iter().sum::<u64>(), 10_000);
        assert!(
            by_country.iter().all(|it| (4_800..5_200).contains(it)),
            "{by_country:?}"
        );
        assert!(pending.iter().all(|it| it.requests < 10), "{pending:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_given_up_and_what_waited_as_long_is_not_sent() {
        let case = Case {
            length: 3 * SECOND,
            timeout: SECOND,
            stall: (SECOND, LATER),
            ..Case::default()
        };
        let (tally, _) = case.run().await;
        assert_eq!(tally.all.due, 3000);
        assert!(
            (980..=1000).contains(&tally.all.answered),
            "{}",
            tally.all.answered
        );
        assert_eq!(tally.all.answered + tally.faulty() + tally.too_late, 3000);
        assert!(tally.faulty() >= 10, "{}", tally.faulty());
        assert_eq!(tally.unfinished(), 0);
        assert!(tally.all.latency.summary().max < SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_the_queue_full_is_not_sent() {
        let case = Case {
            length: 3 * SECOND,
            queue: 100,
            stall: (SECOND, 2 * SECOND),
            ..Case::default()
        };
        let (tally, _) = case.run().await;
        assert!(
            (880..=900).contains(&tally.queue_full),
            "{}",
            tally.queue_full
        );
        assert_eq!(tally.all.answered + tally.queue_full, 3000);
        assert_eq!(tally.unfinished(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_queue_free_connections_are_used_all_the_same() {
        let case = Case {
            length: SECOND,
            queue: 0,
            ..Case::default()
        };
        let (tally, _) = case.run().await;
        assert_eq!((tally.all.answered, tally.queue_full), (1000, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_is_stopped_what_is_under_way_is_unfinished() {
        let case = Case {
            stall: (SECOND, LATER),
            stop: 2 * SECOND + MS / 2,
            ..Case::default()
        };
        let (tally, _) = case.run().await;
        assert!((1999..=2004).contains(&tally.all.due), "{}", tally.all.due);
        assert_eq!(tally.sent, tally.all.answered + 10);
        assert_eq!(tally.unfinished(), tally.all.due - tally.all.answered);
    }
}
