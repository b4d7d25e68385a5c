//! When live requests speak against an origin, when a second one is sent beside a late one, and
//! what a region must answer to return, as the operator wrote it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

/// How live requests are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TrafficPolicy {
    /// `[outlier_detection]`.
    pub outlier_detection: OutlierDetection,
    /// `[hedge]`.
    pub hedge: HedgePolicy,
    /// `[probation]`.
    pub probation: ProbationPolicy,
}

/// `[outlier_detection]`: what of live requests ejects an endpoint, or a region from its routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OutlierDetection {
    /// Failures in a row at one endpoint, seen by one worker, each of which another region or
    /// endpoint did better with: they eject it at once, long before its probes would. Those that
    /// were in flight at one moment count as one. At least 1.
    pub consecutive_failures: u32,
    /// Answers in a row that were late where another one was faster: they eject an endpoint. At
    /// least 1.
    pub consecutive_late: u32,
    /// The same where nothing else was asked, so that it takes more of them. At least 1.
    pub consecutive_late_uncompared: u32,
    /// How long lateness must last, without an answer in time in between, to count: hedges cover the
    /// viewer meanwhile, and a garbage collection is over by then.
    pub late_for: Duration,
    /// Of viewers, paths and moments so many at least must be befallen, or as many as there are: one
    /// viewer, one object or one instant with many requests in flight proves nothing. At least 1.
    pub minimum_breadth: u32,
    /// Failures in a row that call for a probe at once. At least 1.
    pub suspect_after: u32,
    /// Percent of a route's requests in a region that must fail in five seconds, where another
    /// region did better with the same ones: they eject the region. 1 to 100.
    pub failure_percent: u8,
    /// So many failures at least, be their share what it may. At least 1.
    pub minimum_failures: u32,
    /// Percent that must fail where the same request could be tried nowhere else. 1 to 100.
    pub uncompared_failure_percent: u8,
    /// So many of those failures at least. At least 1.
    pub minimum_uncompared_failures: u32,
    /// Percent that must be asked to come back later: 429, or 503 with `Retry-After`. 1 to 100.
    pub put_off_percent: u8,
    /// A write counts as late after so long at the earliest: nobody else is asked, so that nothing
    /// is gained by knowing sooner.
    pub late_write_at_least: Duration,
}

impl Default for OutlierDetection {
    /// Five in a row is Envoy's default for gateway failures; the rates are such that a service
    /// whose every tenth answer is an error keeps its traffic.
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            consecutive_late: 5,
            consecutive_late_uncompared: 10,
            late_for: Duration::from_millis(700),
            minimum_breadth: 3,
            suspect_after: 2,
            failure_percent: 20,
            minimum_failures: 10,
            uncompared_failure_percent: 80,
            minimum_uncompared_failures: 20,
            put_off_percent: 50,
            late_write_at_least: Duration::from_millis(250),
        }
    }
}

/// `[hedge]`: when a safe request that has no answer yet is sent to a second region beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct HedgePolicy {
    /// A first byte is late after so many times the 99th percentile of its route and region. At
    /// least 1.
    pub times_p99: u32,
    /// But not before: the noise of a busy machine would send second attempts.
    pub min_delay: Duration,
    /// And at the latest after so long: a viewer waits. Not below `min_delay`.
    pub max_delay: Duration,
    /// Before enough was seen to tell, at the earliest after so long.
    pub unmeasured_delay: Duration,
}

impl Default for HedgePolicy {
    fn default() -> Self {
        Self {
            times_p99: 3,
            min_delay: Duration::from_millis(50),
            max_delay: Duration::from_secs(1),
            unmeasured_delay: Duration::from_millis(250),
        }
    }
}

/// `[probation]`: the copies of safe requests that an endpoint which live requests ejected must
/// answer well before it returns. No viewer waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProbationPolicy {
    /// Good answers in a row that end it. Where half of the requests fail, ten pass once in a
    /// thousand times. At least 1.
    pub answers: u32,
    /// Without any request that could ask it for so long, the probes' word has to do: an endpoint
    /// that gets only writes would never return otherwise.
    pub timeout: Duration,
    /// Between two requests that one worker copies to it: ten of them need not take longer than the
    /// viewers of a second's outage would notice.
    pub interval: Duration,
    /// After a probation that failed the next waits for a second, and twice as long after each
    /// further one, but no longer than this: what stays broken is seldom asked, and what is mended
    /// returns a minute later at most.
    pub backoff_max: Duration,
}

impl Default for ProbationPolicy {
    fn default() -> Self {
        Self {
            answers: 10,
            timeout: Duration::from_secs(60),
            interval: Duration::from_millis(100),
            backoff_max: Duration::from_secs(60),
        }
    }
}
