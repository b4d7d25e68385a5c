//! How far a request has come: what was tried, and the best answer so far.

use std::time::Duration;

use crate::proxy::attempt_error::AttemptError;
use crate::proxy::attempt_result::{AttemptEnd, AttemptFailure, AttemptResult, OriginAnswer};
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::error_response::ProxyError;
use crate::proxy::failed_attempts::FailedAttempts;
use crate::proxy::outgoing_request::OutgoingRequest;
use crate::proxy::recorder::Recorder;
use crate::proxy::retry_budget::RetryStep;
use crate::proxy::upstream_side::UpstreamSide;
use crate::upstream::body::ReplaySource;
use meridian_core::decide::NoDecision;
use meridian_core::decide::failover::{Attempts, GiveUp};
use meridian_core::model::id::RegionId;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::model::time::Timestamp;
use meridian_core::outlier::FailureVerdict;

/// The answer that the viewer gets.
#[derive(Debug)]
pub(super) struct ChosenAnswer {
    /// Who gave it.
    pub(super) at: AttemptedAt,
    /// The answer.
    pub(super) answer: OriginAnswer,
    /// The attempts that failed before it.
    pub(super) attempts: Attempts,
    /// Where another attempt went that it overtook. It counts, but did not fail.
    pub(super) overtaken: Option<RegionId>,
}

/// How far a request has come.
pub(super) struct RequestState<'a> {
    pub(super) upstream: &'a UpstreamSide,
    pub(super) request: &'a OutgoingRequest,
    pub(super) recorder: &'a mut Recorder,
    pub(super) failed: FailedAttempts,
    /// When the request came.
    started: Timestamp,
    /// The first gateway error that a region itself gave: the viewer's when no better comes.
    fallback: Option<ChosenAnswer>,
    /// How the last attempt failed, for the log.
    last_error: String,
}

impl<'a> RequestState<'a> {
    pub(super) fn new(
        upstream: &'a UpstreamSide,
        request: &'a OutgoingRequest,
        recorder: &'a mut Recorder,
    ) -> Self {
        Self {
            upstream,
            request,
            recorder,
            failed: FailedAttempts::default(),
            started: upstream.attempts.clock.at(request.started),
            fallback: None,
            last_error: String::new(),
        }
    }

    pub(super) fn time_left(&self, now: Timestamp) -> Duration {
        self.request.time_left(self.started, now)
    }

    /// The next attempt, which begins now and may take `left` at most.
    pub(super) fn next(&self, left: Duration, now: Timestamp) -> Result<RetryStep, GiveUp> {
        let retries = &self.upstream.retries;
        let policy = &self.request.route().retry;
        let next = self.failed.next(retries, self.request, policy, left, now);
        if let Some(last) = self.failed.last() {
            match &next {
                Ok(step) => self
                    .recorder
                    .failing_over(last.region, last.error, step.region.id()),
                Err(GiveUp::BudgetSpent) => self.recorder.budget_spent(last.region),
                Err(_) => {}
            }
        }
        next
    }

    /// Takes in how an attempt ended; gives its answer if the viewer may have it. Another attempt,
    /// at `beside`, may still be under way: it is overtaken then.
    pub(super) fn settle(
        &mut self,
        result: AttemptResult,
        beside: Option<RegionId>,
    ) -> Result<Option<ChosenAnswer>, ProxyError> {
        let AttemptResult { at, end } = result;
        match end {
            AttemptEnd::Answered(answer) => {
                let outliers = &self.upstream.outliers;
                self.recorder.answered(&at, &answer.origin);
                outliers.answered(self.request, &at, &answer, beside.is_some());
                for failure in self.failed.take_reports() {
                    if failure.endpoint == at.endpoint {
                        // It did no better than itself: its connection was at fault.
                        outliers.inconclusive(failure);
                        continue;
                    }
                    outliers.failed(self.request, failure, FailureVerdict::Compared);
                }
                return Ok(Some(self.chosen(at, answer, beside)));
            }
            AttemptEnd::Failed(AttemptError::Unsendable(_)) => {
                return Err(ProxyError::BadRequest(
                    "The request's host is no host name.",
                ));
            }
            AttemptEnd::GatewayFailure {
                answer,
                asks_to_wait,
            } => {
                self.recorder.answered(&at, &answer.origin);
                self.recorder.gateway_failed(at.region);
                self.note(&at, AttemptFailure::of_gateway(asks_to_wait));
                if self.fallback.is_none() {
                    self.fallback = Some(self.chosen(at, answer, None));
                }
            }
            AttemptEnd::Failed(error) => {
                let failure = AttemptFailure::of(&error);
                self.recorder.failed(&at, failure.kind);
                self.note(&at, failure);
                self.last_error = error.to_string();
            }
        }
        Ok(None)
    }

    fn note(&mut self, at: &AttemptedAt, failure: AttemptFailure) {
        let outliers = &self.upstream.outliers;
        self.failed.failed(outliers, self.request, at, failure);
    }

    /// Takes in that `region` has no endpoint.
    pub(super) fn had_no_endpoint(&mut self, region: RegionId) {
        self.recorder.had_no_endpoint(region);
        self.failed.had_no_endpoint(region);
        self.last_error = AttemptError::NoEndpoint.to_string();
    }

    /// The answer when there is to be no further attempt.
    pub(super) fn give_up(self, reason: GiveUp) -> Result<ChosenAnswer, ProxyError> {
        let outliers = &self.upstream.outliers;
        self.failed
            .report_uncompared(outliers, self.request, reason);
        if let Some(fallback) = self.fallback {
            return Ok(fallback);
        }
        let Some(last) = self.failed.last() else {
            let route = self.request.decision.route();
            return Err(NoDecision::NoRegion(route).into());
        };
        if last.error == ErrorKind::ViewerBody {
            let source = self.request.source.as_ref();
            return Err(match source.is_some_and(ReplaySource::malformed) {
                true => ProxyError::BadRequest("The request's body is framed wrongly."),
                false => ProxyError::ViewerBody,
            });
        }
        let region = self.request.live.snapshot.table.region(last.region);
        Err(ProxyError::Failed {
            kind: last.error,
            detail: self.last_error,
            region: Some(region.name.to_string()),
            gave_up: reason,
        })
    }

    fn chosen(
        &self,
        at: AttemptedAt,
        answer: OriginAnswer,
        overtaken: Option<RegionId>,
    ) -> ChosenAnswer {
        ChosenAnswer {
            at,
            answer,
            attempts: *self.failed.made(),
            overtaken,
        }
    }
}
