//! Whether a failed attempt may be followed by another, and where.

use std::time::Duration;

use crate::decide::Decision;
use crate::decide::request::RequestClass;
use crate::decide::retry_budget::Budget;
use crate::model::id::RegionId;
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;
use crate::table::policy::RetryPolicy;
use crate::table::residency::PermittedRegion;

/// Attempts a request can have: eight regions, and one repeat on a fresh connection.
pub const MAX_ATTEMPTS: usize = 9;

/// When an attempt failed: the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum FailurePoint {
    /// Before any byte of the request left.
    NothingSent,
    /// Later, but the origin proved that it did not process it.
    Unprocessed,
    /// A reused connection broke before any byte of a response: as a rule the origin closed it
    /// while the request was on its way.
    ReusedReset,
    /// It was sent, and no response head came.
    NoFirstByte,
    /// A bad gateway's answer.
    GatewayAnswer,
    /// A small body broke off or stood still while it was held back: none of it was passed on.
    BodyBroken,
    /// 429, or 503 with `Retry-After`: the region asks for less, not for more elsewhere.
    AskedToWait,
    /// The viewer went away.
    ViewerGone,
}

impl FailurePoint {
    fn of(attempt: &Attempt) -> Self {
        match attempt.error {
            _ if attempt.asked_to_wait => Self::AskedToWait,
            ErrorKind::Unprocessed => Self::Unprocessed,
            ErrorKind::ReusedReset => Self::ReusedReset,
            ErrorKind::FreshReset | ErrorKind::FirstByteTimeout => Self::NoFirstByte,
            ErrorKind::BadResponse | ErrorKind::GatewayStatus => Self::GatewayAnswer,
            ErrorKind::BodyBroken => Self::BodyBroken,
            ErrorKind::ViewerBody => Self::ViewerGone,
            ErrorKind::NoEndpoint
            | ErrorKind::ConnectRefused
            | ErrorKind::ConnectTimeout
            | ErrorKind::ConnectFailed
            | ErrorKind::TlsFailed
            | ErrorKind::TlsTimeout
            | ErrorKind::ClosedBeforeSend => Self::NothingSent,
        }
    }
}

/// What may follow: the cells of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RetryRule {
    /// Another region.
    Other,
    /// A fresh connection in the same region, once; then another region.
    Fresh,
    /// Another region, if the route opts in (`retry.grpc`).
    OptIn,
    /// Nothing.
    Stop,
}

/// The rule for every moment and class.
#[rustfmt::skip]
fn retry_rule(moment: FailurePoint, class: RequestClass) -> RetryRule {
    use RetryRule::{Fresh, OptIn, Other, Stop};
    let row = match moment {
        //                      Read   Idempotent Write KeyedWrite Upgrade Grpc
        FailurePoint::NothingSent   => [Other, Other,   Other, Other,    Other,  Other],
        FailurePoint::Unprocessed   => [Fresh, Fresh,   Fresh, Fresh,    Fresh,  Fresh],
        FailurePoint::ReusedReset   => [Fresh, Fresh,   Stop,  Fresh,    Stop,   Stop],
        FailurePoint::NoFirstByte   => [Other, Other,   Stop,  Other,    Other,  OptIn],
        FailurePoint::GatewayAnswer => [Other, Other,   Stop,  Other,    Other,  OptIn],
        FailurePoint::BodyBroken    => [Other, Stop,    Stop,  Stop,     Stop,   Stop],
        FailurePoint::AskedToWait   => [Stop,  Stop,    Stop,  Stop,     Stop,   Stop],
        FailurePoint::ViewerGone    => [Stop,  Stop,    Stop,  Stop,     Stop,   Stop],
    };
    row[class.column()]
}

/// One attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Where it went.
    pub region: RegionId,
    /// How it failed.
    pub error: ErrorKind,
    /// Whether the region answered 429, or 503 with `Retry-After`.
    pub asked_to_wait: bool,
}

/// The attempts of one request that failed so far, in order; never allocates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    made: [Option<Attempt>; MAX_ATTEMPTS],
    len: u8,
}

impl Attempts {
    /// Adds one. [`next`] never leads to more than there is room for; more are not kept.
    pub fn push(&mut self, attempt: Attempt) {
        if let Some(place) = self.made.get_mut(usize::from(self.len)) {
            *place = Some(attempt);
            self.len += 1;
        }
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attempt> {
        self.made.iter().flatten()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether none was made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The newest.
    #[must_use]
    pub fn last(&self) -> Option<&Attempt> {
        self.made[..self.len()].last()?.as_ref()
    }

    fn used(&self, region: RegionId) -> bool {
        self.iter().any(|attempt| attempt.region == region)
    }

    /// How many regions were tried.
    fn regions(&self) -> usize {
        self.len() - usize::from(self.repeated())
    }

    /// Whether one region was tried twice: the one repeat a request has. It directly follows
    /// the attempt that it repeats.
    fn repeated(&self) -> bool {
        let made = &self.made[..self.len()];
        let region = |attempt: &Option<Attempt>| attempt.map(|attempt| attempt.region);
        made.windows(2)
            .any(|pair| region(&pair[0]) == region(&pair[1]))
    }
}

/// What of a request and its route matters for another attempt.
#[derive(Clone, Copy, Debug)]
pub struct RetryFacts<'a> {
    /// What sending it twice means on this route; see [`RequestClass::on`].
    pub class: RequestClass,
    /// The route's word.
    pub retry: &'a RetryPolicy,
    /// Until `timeouts.request` is over.
    pub deadline_left: Duration,
    /// Whether the whole body can be sent once more: there is none, or it fits the buffer. A
    /// body of which nothing left for any origin needs no replay.
    pub replayable: bool,
    /// Whether the region of the last attempt has another endpoint that is well.
    pub other_endpoint: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAttempt {
    /// Try this region, which was not tried yet.
    Try(PermittedRegion),
    /// Try the same region once more, on a fresh connection, at another endpoint if it has one.
    Again(PermittedRegion),
    /// Answer with what there is.
    GiveUp(GiveUp),
}

/// Why there is no further attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum GiveUp {
    /// A request like this must not be sent again after such a failure.
    #[error("such a request is not sent again after such a failure")]
    NotRetryable,
    /// As many regions were tried as the route allows.
    #[error("all attempts are used")]
    AttemptsUsed,
    /// Every permitted region was tried.
    #[error("every permitted region was tried")]
    NoRegionLeft,
    /// The region it would go to takes no more retries now.
    #[error("the retry budget is spent")]
    BudgetSpent,
    /// The body is larger than the replay buffer and part of it is gone.
    #[error("the body is too large to be sent again")]
    BodyTooLarge,
    /// No time is left.
    #[error("the deadline is over")]
    DeadlineOver,
}

impl GiveUp {
    /// The reason as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::AttemptsUsed => "attempts_used",
            Self::NoRegionLeft => "no_region_left",
            Self::BudgetSpent => "budget_spent",
            Self::BodyTooLarge => "body_too_large",
            Self::DeadlineOver => "deadline_over",
        }
    }
}

/// The next attempt of a request, if the table, the route, the time, the body and the budget
/// all allow one.
///
/// A region is tried once, in the order of the decision: those that serve, then the last
/// resorts, never one outside the permitted set. One repeat in the same region, on a fresh
/// connection, comes on top and does not count as an attempt, because attempts are counted to
/// survive the loss of regions and a stale connection is none. With `attempts = 1` there is no
/// repeat either.
///
/// An attempt of which [`is_charged`] is true is charged to `budget`; the caller releases the region
/// when it ends.
pub fn next(
    decision: &Decision,
    attempts: &Attempts,
    facts: &RetryFacts<'_>,
    budget: &mut Budget,
    now: Timestamp,
) -> NextAttempt {
    let chosen = match attempts.last() {
        None => first(decision, facts),
        Some(failed) => another(decision, attempts, failed, facts).and_then(|next| {
            let (NextAttempt::Try(region) | NextAttempt::Again(region)) = next else {
                return Ok(next);
            };
            if !is_charged(attempts) {
                return Ok(next);
            }
            let charged = budget.charge(region.id(), now);
            charged.map(|()| next).map_err(|_| GiveUp::BudgetSpent)
        }),
    };
    chosen.unwrap_or_else(NextAttempt::GiveUp)
}

/// Whether the attempt after `attempts` is charged to its region's budget. It is not while no
/// origin had the request, so that it adds to nobody's load.
#[must_use]
pub fn is_charged(attempts: &Attempts) -> bool {
    let had_it = |error: ErrorKind| !error.nothing_sent() && error != ErrorKind::Unprocessed;
    attempts.iter().any(|made| had_it(made.error))
}

fn first(decision: &Decision, facts: &RetryFacts<'_>) -> Result<NextAttempt, GiveUp> {
    if facts.deadline_left.is_zero() {
        return Err(GiveUp::DeadlineOver);
    }
    let region = unused(decision, &Attempts::default());
    region.map(NextAttempt::Try).ok_or(GiveUp::NoRegionLeft)
}

fn another(
    decision: &Decision,
    attempts: &Attempts,
    failed: &Attempt,
    facts: &RetryFacts<'_>,
) -> Result<NextAttempt, GiveUp> {
    let moment = FailurePoint::of(failed);
    let fresh = match retry_rule(moment, facts.class) {
        RetryRule::Stop => return Err(GiveUp::NotRetryable),
        RetryRule::OptIn if !facts.retry.grpc => return Err(GiveUp::NotRetryable),
        RetryRule::OptIn | RetryRule::Other => false,
        RetryRule::Fresh => true,
    };
    if !facts.replayable && moment != FailurePoint::NothingSent {
        return Err(GiveUp::BodyTooLarge);
    }
    if facts.deadline_left.is_zero() {
        return Err(GiveUp::DeadlineOver);
    }
    let may_repeat =
        facts.retry.attempts > 1 && !attempts.repeated() && attempts.len() < MAX_ATTEMPTS;
    let again = decision.permitted.get(failed.region);
    let again = again.filter(|_| may_repeat).map(NextAttempt::Again);
    if fresh && let Some(again) = again {
        return Ok(again);
    }
    if attempts.regions() >= usize::from(facts.retry.attempts) || attempts.len() >= MAX_ATTEMPTS {
        return Err(GiveUp::AttemptsUsed);
    }
    if let Some(region) = unused(decision, attempts) {
        return Ok(NextAttempt::Try(region));
    }
    // The last region may have more endpoints than the one that failed, or name other ones by the
    // time it is dialled again.
    let has_another = (facts.other_endpoint || moment == FailurePoint::NothingSent)
        && failed.error != ErrorKind::NoEndpoint;
    again.filter(|_| has_another).ok_or(GiveUp::NoRegionLeft)
}

/// Where a second attempt goes while the first, at `current`, is late: the next region that
/// serves or is well and on its way back, or else another endpoint of the same one, if the request is
/// safe to repeat, attempts are left, and its budget has room. It is charged; the caller releases it when the attempt ends.
pub fn hedge(
    decision: &Decision,
    attempts: &Attempts,
    current: RegionId,
    facts: &RetryFacts<'_>,
    budget: &mut Budget,
    now: Timestamp,
) -> Option<PermittedRegion> {
    let under_way = attempts.regions() + usize::from(!attempts.used(current));
    let left = usize::from(facts.retry.attempts).saturating_sub(under_way);
    if facts.class != RequestClass::Read || left == 0 || facts.deadline_left.is_zero() {
        return None;
    }
    let permitted = |region: &RegionId| decision.permitted.get(*region);
    let others = decision.ranked.well().iter();
    let region = others
        .filter(|region| **region != current && !attempts.used(**region))
        .find_map(permitted)
        .or_else(|| permitted(&current).filter(|_| facts.other_endpoint))?;
    budget.charge(region.id(), now).ok()?;
    Some(region)
}

/// The best permitted region that was not tried.
fn unused(decision: &Decision, attempts: &Attempts) -> Option<PermittedRegion> {
    let ranked = decision.ranked.all().iter();
    let mut permitted = ranked.filter_map(|region| decision.permitted.get(*region));
    permitted.find(|region| !attempts.used(region.id()))
}
