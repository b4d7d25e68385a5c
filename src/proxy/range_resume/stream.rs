//! A large body that breaks off or stands still goes on from another region, where both have the
//! same bytes: what went to the viewer is counted, and the rest is asked for by number and version.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::proxy::attempt_result::{AttemptEnd, AttemptFailure, AttemptResult, OriginAnswer};
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::origin_body::OriginBody;
use crate::proxy::range_resume::request::{RangeAttempt, ResumeRequest};
use crate::proxy::recorder::Recorder;
use crate::proxy::upstream_side::UpstreamSide;
use crate::telemetry::metrics::ResumeResult;
use crate::upstream::body::BodyError;
use crate::upstream::stall::StallWatch;
use meridian_core::decide::failover::GiveUp;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::outlier::FailureVerdict;

/// A body that streams from one origin after another.
#[derive(Debug)]
pub(in crate::proxy) struct ResumableBody {
    upstream: Rc<UpstreamSide>,
    resume: ResumeRequest,
    /// Bytes that went to the viewer.
    sent: u64,
    /// Where more of them come from, while it has not broken off.
    body: Option<OriginBody>,
    /// Where that is, or was.
    at: AttemptedAt,
    /// Whether its end is still to be reported.
    is_unreported: bool,
    /// It is a part that another region went on with.
    is_part: bool,
    /// The attempt it came by is among those that failed.
    is_noted: bool,
    /// Runs while it stands still; absent once nobody else can be asked.
    resume_timer: Option<StallWatch>,
    attempt: Option<RangeAttempt>,
    /// Wakes us while the budget is spent: it has room again once other attempts end.
    budget_timer: Option<StallWatch>,
    /// How the body broke off.
    error: Option<BodyError>,
}

impl ResumableBody {
    /// `body`, which comes from `at`, and whatever is needed to go on with it.
    pub(in crate::proxy) fn new(
        upstream: Rc<UpstreamSide>,
        resume: ResumeRequest,
        body: OriginBody,
        at: AttemptedAt,
    ) -> Self {
        let stalls = &upstream.attempts.upstreams.stalls;
        Self {
            resume_timer: Some(stalls.watch(resume.resume_after())),
            upstream,
            resume,
            sent: 0,
            body: Some(body),
            at,
            is_unreported: true,
            is_part: false,
            is_noted: false,
            attempt: None,
            budget_timer: None,
            error: None,
        }
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        // A part may be followed by the end of its own framing, which tells the viewer nothing.
        let ended = |body: &OriginBody| self.is_part || body.is_end_stream();
        self.left() == 0 && self.body.as_ref().is_some_and(ended)
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }

    fn left(&self) -> u64 {
        self.resume.promised.length().saturating_sub(self.sent)
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        recorder: &mut Recorder,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = self.poll_parts(cx, recorder);
        let ended = matches!(frame, Poll::Ready(None)) || self.is_end_stream();
        if ended && std::mem::take(&mut self.is_unreported) {
            self.upstream.outliers.body_ended(self.at.endpoint);
        }
        frame
    }

    fn poll_parts(
        &mut self,
        cx: &mut Context<'_>,
        recorder: &mut Recorder,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.is_part && self.left() == 0 {
                return Poll::Ready(None);
            }
            if let Some(body) = &mut self.body {
                match body.poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => match self.take(frame, recorder) {
                        Some(frame) => return Poll::Ready(Some(Ok(frame))),
                        None => continue,
                    },
                    Poll::Ready(None) if self.left() == 0 => return Poll::Ready(None),
                    Poll::Ready(None) => self.broke(BodyError::Unfinished),
                    Poll::Ready(Some(Err(error))) => self.broke(error),
                    Poll::Pending if self.is_patient(cx) => return Poll::Pending,
                    Poll::Pending => {}
                }
            }
            if ready!(self.poll_attempts(cx, recorder)) {
                continue;
            }
            let Some(error) = self.error.take() else {
                // It only stands still, and has the route's own time to go on.
                self.resume_timer = None;
                return Poll::Pending;
            };
            self.tell(FailureVerdict::Uncompared);
            return Poll::Ready(Some(Err(error)));
        }
    }

    /// Whether the body, of which nothing is here now, is still waited for alone.
    fn is_patient(&mut self, cx: &Context<'_>) -> bool {
        let over = |watch: &mut StallWatch| watch.pending(cx);
        self.attempt.is_none() && !self.resume_timer.as_mut().is_some_and(over)
    }

    /// A frame for the viewer, if this is one.
    fn take(&mut self, frame: Frame<Bytes>, recorder: &mut Recorder) -> Option<Frame<Bytes>> {
        let Some(data) = frame.data_ref() else {
            // Trailers of a part tell of the part; the viewer would take them for the whole's.
            return (!self.is_part).then_some(frame);
        };
        let bytes = data.len() as u64;
        if bytes > self.left() {
            self.broke(BodyError::Unfinished);
            return None;
        }
        self.sent += bytes;
        if let Some(resume_timer) = &mut self.resume_timer {
            resume_timer.progressed();
        }
        if bytes > 0 && self.resume.is_due() {
            self.goes_on(recorder);
        }
        if self.left() == 0 {
            // Only now is it known that others did better: they may break off as well.
            self.tell(FailureVerdict::Compared);
        }
        Some(frame)
    }

    /// Tells of the failures so far.
    fn tell(&mut self, verdict: FailureVerdict) {
        let ResumeRequest {
            request, failed, ..
        } = &mut self.resume;
        for failure in failed.take_reports() {
            self.upstream.outliers.failed(request, failure, verdict);
        }
    }

    fn watch(&self) -> StallWatch {
        let stalls = &self.upstream.attempts.upstreams.stalls;
        stalls.watch(self.resume.resume_after())
    }

    /// Bytes came after the body had broken off or stood still.
    fn goes_on(&mut self, recorder: &mut Recorder) {
        self.resume.goes_on();
        self.budget_timer = None;
        self.resume_timer = Some(self.watch());
        if let Some(attempt) = self.attempt.take() {
            recorder.overtaken(&attempt.at);
            recorder.resumed(attempt.at.region, ResumeResult::Overtaken);
            self.note(&attempt.at, AttemptFailure::BODY_BROKEN);
        }
    }

    fn broke(&mut self, error: BodyError) {
        self.body = None;
        self.error = Some(error);
        self.is_unreported = false;
        let outliers = &self.upstream.outliers;
        let failure = outliers.failure(&self.at, ErrorKind::BodyBroken);
        self.resume.failed.will_report(failure);
    }

    fn note(&mut self, at: &AttemptedAt, failure: AttemptFailure) {
        let ResumeRequest {
            request, failed, ..
        } = &mut self.resume;
        failed.failed(&self.upstream.outliers, request, at, failure);
    }

    /// Asks one region after the other for the rest; ready with whether one went on with it.
    fn poll_attempts(&mut self, cx: &mut Context<'_>, recorder: &mut Recorder) -> Poll<bool> {
        loop {
            if let Some(attempt) = &mut self.attempt {
                let result = ready!(attempt.result.as_mut().poll(cx));
                self.attempt = None;
                if self.settle(result, recorder) {
                    return Poll::Ready(true);
                }
            }
            if !self.is_noted {
                self.is_noted = true;
                let at = self.at;
                self.note(&at, AttemptFailure::BODY_BROKEN);
            }
            match self.resume.ask(&self.upstream, self.sent, recorder) {
                Ok(attempt) => {
                    self.attempt = attempt;
                    self.budget_timer = None;
                }
                Err(GiveUp::BudgetSpent) => {
                    self.wait_for_budget(cx, recorder);
                    return Poll::Pending;
                }
                Err(_) => return Poll::Ready(false),
            }
        }
    }

    fn wait_for_budget(&mut self, cx: &Context<'_>, recorder: &Recorder) {
        let budget_timer = self.budget_timer.get_or_insert_with(|| {
            recorder.budget_spent(self.at.region);
            let stalls = &self.upstream.attempts.upstreams.stalls;
            stalls.watch(Duration::ZERO)
        });
        budget_timer.pending(cx);
    }

    /// Takes in what a region answered; whether the body goes on with it.
    fn settle(&mut self, result: AttemptResult, recorder: &mut Recorder) -> bool {
        let AttemptResult { at, end } = result;
        match end {
            AttemptEnd::Answered(answer) => {
                let promised = &self.resume.promised;
                let fits = promised.continues(&answer.origin.response, self.sent);
                recorder.continued(&at, &answer.origin, fits);
                if fits {
                    self.continue_with(at, answer);
                    return true;
                }
                // Another version, or no ranges: no fault of the region.
                self.note(&at, AttemptFailure::BODY_BROKEN);
            }
            AttemptEnd::GatewayFailure {
                answer,
                asks_to_wait,
            } => {
                recorder.continued(&at, &answer.origin, false);
                recorder.gateway_failed(at.region);
                self.note(&at, AttemptFailure::of_gateway(asks_to_wait));
            }
            AttemptEnd::Failed(error) => {
                let failure = AttemptFailure::of(&error);
                recorder.failed(&at, failure.kind);
                recorder.resumed(at.region, ResumeResult::Failed);
                self.note(&at, failure);
            }
        }
        false
    }

    /// Goes on with `answer`; the connection that broke or stood still is dropped.
    fn continue_with(&mut self, at: AttemptedAt, answer: OriginAnswer) {
        let outliers = &self.upstream.outliers;
        if self.body.take().is_some() {
            outliers.body_late(&self.resume.request, &self.at);
        }
        outliers.answered(&self.resume.request, &at, &answer, false);
        self.at = at;
        self.is_unreported = true;
        self.is_part = true;
        self.is_noted = false;
        self.error = None;
        self.resume_timer = Some(self.watch());
        let limit = self.resume.body_progress();
        let upstreams = &self.upstream.attempts.upstreams;
        let response = upstreams.response_body(*answer.origin, at.endpoint, limit, None);
        self.body = Some(response.into_body());
    }
}
