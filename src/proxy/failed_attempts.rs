//! The attempts of a request that failed, and what they will count for.

use std::time::Duration;

use crate::proxy::attempt_result::{AttemptFailure, AttemptFault};
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::outlier_report::{FailureReport, OutlierReporter};
use crate::proxy::retry_budget::{RetryBudget, RetryStep};
use meridian_core::decide::failover::{Attempt, Attempts, GiveUp, RetryFacts};
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::outlier::FailureVerdict;
use meridian_core::table::policy::RetryPolicy;

/// Attempts that failed, in order.
#[derive(Debug, Default)]
pub(super) struct FailedAttempts {
    made: Attempts,
    /// The endpoint that failed last.
    last_endpoint: Option<EndpointId>,
    /// Failures that count against their endpoints once another one does better.
    reports: Vec<FailureReport>,
}

impl FailedAttempts {
    /// Goes on after `made`, whose failures are told already.
    pub(super) fn after(made: Attempts) -> Self {
        Self {
            made,
            ..Self::default()
        }
    }

    pub(super) fn made(&self) -> &Attempts {
        &self.made
    }

    pub(super) fn last(&self) -> Option<&Attempt> {
        self.made.last()
    }

    /// The endpoint that failed last, which the next attempt avoids.
    pub(super) fn last_endpoint(&self) -> Option<EndpointId> {
        self.last_endpoint
    }

    /// The next attempt, charged to `retries`.
    pub(super) fn next(
        &self,
        retries: &RetryBudget,
        request: &OutgoingRequest,
        policy: &RetryPolicy,
        left: Duration,
        now: Timestamp,
    ) -> Result<RetryStep, GiveUp> {
        let last = self.made.last().zip(self.last_endpoint);
        let other_endpoint = last
            .is_some_and(|(last, endpoint)| request.has_another_endpoint(last.region, endpoint));
        let facts = RetryFacts {
            retry: policy,
            ..request.retry_facts(left, other_endpoint)
        };
        retries.next(&request.decision, &self.made, &facts, now)
    }

    /// An attempt failed.
    pub(super) fn failed(
        &mut self,
        outliers: &OutlierReporter,
        request: &OutgoingRequest,
        at: &AttemptedAt,
        failure: AttemptFailure,
    ) {
        let AttemptFailure { kind, fault } = failure;
        match fault {
            AttemptFault::Endpoint => self.will_report(outliers.failure(at, kind)),
            AttemptFault::AskedToWait => {
                let failure = outliers.failure(at, kind);
                outliers.failed(request, failure, FailureVerdict::AskedToWait);
            }
            AttemptFault::Nobody => {}
        }
        self.last_endpoint = Some(at.endpoint);
        self.push(at.region, kind, fault == AttemptFault::AskedToWait);
    }

    /// There was no endpoint to send it to.
    pub(super) fn had_no_endpoint(&mut self, region: RegionId) {
        self.push(region, ErrorKind::NoEndpoint, false);
    }

    /// A failure that counts once another endpoint does better.
    pub(super) fn will_report(&mut self, failure: FailureReport) {
        self.reports.push(failure);
    }

    /// What there is to tell, once.
    pub(super) fn take_reports(&mut self) -> impl Iterator<Item = FailureReport> {
        self.reports.drain(..)
    }

    /// Tells of failures that no better answer followed: the request must not be repeated, or failed
    /// wherever it went.
    pub(super) fn report_uncompared(
        &self,
        outliers: &OutlierReporter,
        request: &OutgoingRequest,
        reason: GiveUp,
    ) {
        match (self.reports.as_slice(), reason) {
            ([failure], GiveUp::NotRetryable | GiveUp::BodyTooLarge) => {
                outliers.failed(request, *failure, FailureVerdict::Uncompared);
            }
            (failures, _) => {
                for failure in failures {
                    outliers.inconclusive(*failure);
                }
            }
        }
    }

    fn push(&mut self, region: RegionId, error: ErrorKind, asked_to_wait: bool) {
        self.made.push(Attempt {
            region,
            error,
            asked_to_wait,
        });
    }
}
