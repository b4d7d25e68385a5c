//! A large body that breaks off or stands still goes on from another region, where both have the
//! same bytes: what went to the viewer is counted, and the rest is asked for by number and version.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::proxy::Proxy;
use crate::proxy::attempt::{AttemptError, OriginResponse};
use crate::proxy::outlier_report::FailureReport;
use crate::proxy::range_resume::request::{RangeAttempt, ResumeRequest, known};
use crate::proxy::recorder::{AttemptedAt, Recorder};
use crate::proxy::retry::gateway_failure;
use crate::proxy::viewer_body::OriginBody;
use crate::telemetry::metrics::ResumeResult;
use crate::upstream::body::BodyError;
use crate::upstream::stall::StallWatch;
use meridian_core::decide::failover::{GiveUp, RequestClass};
use meridian_core::model::id::{EndpointId, RegionId};
use meridian_core::model::outcome::ErrorKind;
use meridian_core::outlier::Verdict;

/// A body that streams from one origin after another.
#[derive(Debug)]
pub(in crate::proxy) struct ResumableBody {
    proxy: Rc<Proxy>,
    rest: Box<ResumeRequest>,
    /// Bytes that went to the viewer.
    sent: u64,
    /// Where more of them come from, while it has not broken off.
    body: Option<OriginBody>,
    /// Where that is, or was.
    place: (RegionId, EndpointId),
    /// It is a part that another region went on with.
    is_part: bool,
    /// The attempt it came by is among those that failed.
    is_noted: bool,
    /// Runs while it stands still; absent once nobody else can be asked.
    patience: Option<StallWatch>,
    asked: Option<RangeAttempt>,
    /// Wakes us while the budget is spent: it has room again once other attempts end.
    unpaid: Option<StallWatch>,
    /// Endpoints whose failure counts against them once another one does better.
    reports: Vec<FailureReport>,
    /// How the body broke off.
    error: Option<BodyError>,
}

impl ResumableBody {
    /// `body`, which comes from `place`, and whatever is needed to go on with it.
    pub(in crate::proxy) fn new(
        proxy: Rc<Proxy>,
        rest: Box<ResumeRequest>,
        body: OriginBody,
        place: (RegionId, EndpointId),
    ) -> Self {
        Self {
            patience: Some(proxy.stalls.watch(rest.resume_after())),
            proxy,
            rest,
            sent: 0,
            body: Some(body),
            place,
            is_part: false,
            is_noted: false,
            asked: None,
            unpaid: None,
            reports: Vec::new(),
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
        self.rest.promise.length().saturating_sub(self.sent)
    }

    pub(in crate::proxy) fn poll_frame(
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
                    Poll::Ready(None) => self.broke(BodyError::Unfinished, recorder),
                    Poll::Ready(Some(Err(error))) => self.broke(error, recorder),
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
            for blame in self.reports.drain(..) {
                self.proxy.blame(&self.rest.outgoing, blame, Verdict::Alone);
            }
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
            self.broke(BodyError::Unfinished, recorder);
            return None;
        }
        self.sent += bytes;
        if let Some(patience) = &mut self.patience {
            patience.progressed();
        }
        if bytes > 0 && self.rest.is_due() {
            self.goes_on(recorder);
        }
        if self.left() == 0 {
            // Only now is it known that others did better: they may break off as well.
            for blame in self.reports.drain(..) {
                self.proxy
                    .blame(&self.rest.outgoing, blame, Verdict::Compared);
            }
        }
        Some(frame)
    }

    /// Bytes came after the body had broken off or stood still.
    fn goes_on(&mut self, recorder: &mut Recorder) {
        self.rest.goes_on();
        self.unpaid = None;
        self.patience = Some(self.proxy.stalls.watch(self.rest.resume_after()));
        if let Some(asked) = self.asked.take() {
            recorder.overtaken(AttemptedAt::first(asked.region, asked.address));
            recorder.resumed(asked.region, ResumeResult::Overtaken);
            let place = (asked.region, asked.endpoint);
            self.rest.failed(place, ErrorKind::BodyBroken, false);
        }
    }

    fn broke(&mut self, error: BodyError, recorder: &mut Recorder) {
        let (region, endpoint) = self.place;
        self.body = None;
        self.error = Some(error);
        recorder.body_of(None);
        self.reports.push(FailureReport {
            region,
            endpoint,
            kind: ErrorKind::BodyBroken,
        });
        if let Some(endpoint) = known(&self.rest.outgoing, endpoint) {
            self.proxy.probation_ended(endpoint, false);
        }
    }

    /// Asks one region after the other for the rest; ready with whether one went on with it.
    fn poll_rest(&mut self, cx: &mut Context<'_>, recorder: &mut Recorder) -> Poll<bool> {
        loop {
            if let Some(asked) = &mut self.asked {
                let outcome = ready!(asked.answer.as_mut().poll(cx));
                if let Some(asked) = self.asked.take()
                    && self.settle(&asked, outcome, recorder)
                {
                    return Poll::Ready(true);
                }
            }
            if !self.is_noted {
                self.is_noted = true;
                self.rest.failed(self.place, ErrorKind::BodyBroken, false);
            }
            match self.rest.ask(&self.proxy, self.sent, recorder) {
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
            recorder.budget_spent(self.place.0);
            self.proxy.stalls.watch(Duration::ZERO)
        });
        unpaid.pending(cx);
    }

    /// Takes in what a region answered; whether the body goes on with it.
    fn settle(
        &mut self,
        asked: &RangeAttempt,
        outcome: Result<Box<OriginResponse>, AttemptError>,
        recorder: &mut Recorder,
    ) -> bool {
        let region = asked.region;
        let blame = |kind| FailureReport {
            region,
            endpoint: asked.endpoint,
            kind,
        };
        let (error, asked_to_wait) = match outcome {
            Ok(answer) => {
                let fits = self.rest.promise.continues(&answer.response, self.sent);
                recorder.continued(AttemptedAt::first(region, asked.address), &answer, fits);
                if fits {
                    self.splice(asked, answer, recorder);
                    return true;
                }
                match gateway_failure(&answer.response, RequestClass::Read) {
                    Some(true) => {
                        let blame = blame(ErrorKind::GatewayStatus);
                        let verdict = Verdict::AskedToWait;
                        self.proxy.blame(&self.rest.outgoing, blame, verdict);
                        (ErrorKind::GatewayStatus, true)
                    }
                    Some(false) => {
                        self.reports.push(blame(ErrorKind::GatewayStatus));
                        (ErrorKind::GatewayStatus, false)
                    }
                    // Another version, or no ranges: no fault of the region.
                    None => (ErrorKind::BodyBroken, false),
                }
            }
            Err(error) => {
                let kind = error.kind();
                recorder.failed(AttemptedAt::first(region, asked.address), kind);
                recorder.resumed(region, ResumeResult::Failed);
                if error.blames_the_origin() {
                    self.reports.push(blame(kind));
                }
                (kind, false)
            }
        };
        self.rest
            .failed((region, asked.endpoint), error, asked_to_wait);
        false
    }

    /// Goes on with `answer`; the connection that broke or stood still is dropped.
    fn splice(
        &mut self,
        asked: &RangeAttempt,
        answer: Box<OriginResponse>,
        recorder: &mut Recorder,
    ) {
        let outgoing = &self.rest.outgoing;
        if self.body.take().is_some() {
            let late = self.place.1;
            self.proxy.tell(self.proxy.evidence.late(late, true));
            if let Some(late) = known(outgoing, late) {
                self.proxy.probation_ended(late, false);
            }
        }
        if let Some(endpoint) = known(outgoing, asked.endpoint) {
            self.proxy.well(outgoing, asked.region, endpoint, &answer);
        }
        self.place = (asked.region, asked.endpoint);
        self.is_part = true;
        self.is_noted = false;
        self.error = None;
        self.patience = Some(self.proxy.stalls.watch(self.rest.resume_after()));
        recorder.body_of(Some(self.place));
        let limit = outgoing.route().timeouts.body_progress;
        self.body = Some(self.proxy.origin_body(answer, limit).into_body());
    }
}
