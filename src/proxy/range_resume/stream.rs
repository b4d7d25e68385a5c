//! A large body that breaks off or stands still goes on from another region, where both have the
//! same bytes: what went to the viewer is counted, and the rest is asked for by number and version.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::proxy::attempt_result::{AttemptEnd, AttemptResult, OriginAnswer};
use crate::proxy::attempt_target::AttemptedAt;
use crate::proxy::failed_attempts::AttemptFault;
use crate::proxy::origin_body::OriginBody;
use crate::proxy::range_resume::request::{RangeAttempt, ResumeRequest};
use crate::proxy::recorder::Recorder;
use crate::proxy::upstream_side::UpstreamSide;
use crate::telemetry::metrics::ResumeResult;
use crate::upstream::body::BodyError;
use crate::upstream::stall::StallWatch;
use meridian_core::decide::failover::GiveUp;
use meridian_core::model::outcome::ErrorKind;
use meridian_core::outlier::Verdict;

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
    /// Whether its end is still to be told.
    is_untold: bool,
    /// It is a part that another region went on with.
    is_part: bool,
    /// The attempt it came by is among those that failed.
    is_noted: bool,
    /// Runs while it stands still; absent once nobody else can be asked.
    patience: Option<StallWatch>,
    asked: Option<RangeAttempt>,
    /// Wakes us while the budget is spent: it has room again once other attempts end.
    unpaid: Option<StallWatch>,
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
            patience: Some(stalls.watch(resume.resume_after())),
            upstream,
            resume,
            sent: 0,
            body: Some(body),
            at,
            is_untold: true,
            is_part: false,
            is_noted: false,
            asked: None,
            unpaid: None,
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
        if ended && std::mem::take(&mut self.is_untold) {
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
            if ready!(self.poll_rest(cx, recorder)) {
                continue;
            }
            let Some(error) = self.error.take() else {
                // It only stands still, and has the route's own time to go on.
                self.patience = None;
                return Poll::Pending;
            };
            self.tell(Verdict::Alone);
            return Poll::Ready(Some(Err(error)));
        }
    }

    /// Whether the body, of which nothing is here now, is still waited for alone.
    fn is_patient(&mut self, cx: &Context<'_>) -> bool {
        let over = |watch: &mut StallWatch| watch.pending(cx);
        self.asked.is_none() && !self.patience.as_mut().is_some_and(over)
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
        if let Some(patience) = &mut self.patience {
            patience.progressed();
        }
        if bytes > 0 && self.resume.is_due() {
            self.goes_on(recorder);
        }
        if self.left() == 0 {
            // Only now is it known that others did better: they may break off as well.
            self.tell(Verdict::Compared);
        }
        Some(frame)
    }

    /// Tells of the failures so far.
    fn tell(&mut self, verdict: Verdict) {
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
        self.unpaid = None;
        self.patience = Some(self.watch());
        if let Some(asked) = self.asked.take() {
            recorder.overtaken(&asked.at);
            recorder.resumed(asked.at.region, ResumeResult::Overtaken);
            self.note(&asked.at, ErrorKind::BodyBroken, AttemptFault::Nobody);
        }
    }

    fn broke(&mut self, error: BodyError) {
        self.body = None;
        self.error = Some(error);
        self.is_untold = false;
        self.resume
            .failed
            .will_report(&self.at, ErrorKind::BodyBroken);
        self.upstream.outliers.probation_ended(&self.at, false);
    }

    fn note(&mut self, at: &AttemptedAt, kind: ErrorKind, fault: AttemptFault) {
        let ResumeRequest {
            request, failed, ..
        } = &mut self.resume;
        failed.failed(&self.upstream.outliers, request, at, kind, fault);
    }

    /// Asks one region after the other for the rest; ready with whether one went on with it.
    fn poll_rest(&mut self, cx: &mut Context<'_>, recorder: &mut Recorder) -> Poll<bool> {
        loop {
            if let Some(asked) = &mut self.asked {
                let result = ready!(asked.result.as_mut().poll(cx));
                self.asked = None;
                if self.settle(result, recorder) {
                    return Poll::Ready(true);
                }
            }
            if !self.is_noted {
                self.is_noted = true;
                let at = self.at;
                self.note(&at, ErrorKind::BodyBroken, AttemptFault::Nobody);
            }
            match self.resume.ask(&self.upstream, self.sent, recorder) {
                Ok(asked) => {
                    self.asked = asked;
                    self.unpaid = None;
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
        let unpaid = self.unpaid.get_or_insert_with(|| {
            recorder.budget_spent(self.at.region);
            let stalls = &self.upstream.attempts.upstreams.stalls;
            stalls.watch(Duration::ZERO)
        });
        unpaid.pending(cx);
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
                    self.splice(at, answer);
                    return true;
                }
                // Another version, or no ranges: no fault of the region.
                self.note(&at, ErrorKind::BodyBroken, AttemptFault::Nobody);
            }
            AttemptEnd::GatewayFailure {
                answer,
                asks_to_wait,
            } => {
                recorder.continued(&at, &answer.origin, false);
                let fault = match asks_to_wait {
                    true => AttemptFault::AskedToWait,
                    false => AttemptFault::Endpoint,
                };
                self.note(&at, ErrorKind::GatewayStatus, fault);
            }
            AttemptEnd::Failed(error) => {
                let kind = error.kind();
                recorder.failed(&at, kind);
                recorder.resumed(at.region, ResumeResult::Failed);
                let fault = match error.blames_the_origin() {
                    true => AttemptFault::Endpoint,
                    false => AttemptFault::Nobody,
                };
                self.note(&at, kind, fault);
            }
        }
        false
    }

    /// Goes on with `answer`; the connection that broke or stood still is dropped.
    fn splice(&mut self, at: AttemptedAt, answer: OriginAnswer) {
        let outliers = &self.upstream.outliers;
        if self.body.take().is_some() {
            outliers.late(&self.at, true);
        }
        outliers.answered(&self.resume.request, &at, &answer);
        self.at = at;
        self.is_untold = true;
        self.is_part = true;
        self.is_noted = false;
        self.error = None;
        self.patience = Some(self.watch());
        let limit = self.resume.body_progress();
        let upstreams = &self.upstream.attempts.upstreams;
        let response = upstreams.response_body(*answer.origin, at.endpoint, limit, None);
        self.body = Some(response.into_body());
    }
}
