//! A large body that breaks off or stands still goes on from another region, where both have the
//! same bytes: what went to the viewer is counted, and the rest is asked for by number and version.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};

use crate::decide::endpoint::Wish;
use crate::decide::failover::{Attempt, Attempts, GiveUp, Next, RequestClass, RetryFacts, next};
use crate::decide::snapshot::EndpointState;
use crate::model::id::{EndpointId, RegionId};
use crate::model::outcome::ErrorKind;
use crate::model::time::Timestamp;
use crate::proxy::Proxy;
use crate::proxy::attempt::{Answer, AttemptError, send};
use crate::proxy::body::OriginBody;
use crate::proxy::evidence::Verdict;
use crate::proxy::forward::{Answered, Blame, Charge, Outgoing, facts, gateway_failure};
use crate::proxy::recorder::Recorder;
use crate::proxy::splice::Promise;
use crate::table::policy::RetryPolicy;
use crate::telemetry::metrics::ResumeResult;
use crate::upstream::body::BodyError;
use crate::upstream::stall::StallWatch;

/// How long a body may stand still before another region is asked for its rest. Three packets lost
/// in a row cost TCP less (its time-out begins at 200 ms and doubles), and a player's buffer holds
/// more.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is kept of a request while its body is on its way, to ask for the rest of it.
#[derive(Debug)]
pub(super) struct Rest {
    /// Shared with the attempt that is under way.
    outgoing: Rc<Outgoing>,
    promise: Promise,
    /// The route's word, less an attempt that was overtaken.
    retry: RetryPolicy,
    /// Attempts that failed, or that the body had to be taken from.
    attempts: Attempts,
}

impl Rest {
    /// What is needed to go on with the body of `answered`, if that can be done at all.
    pub(super) fn of(
        proxy: &Proxy,
        mut outgoing: Outgoing,
        answered: &Answered,
    ) -> Option<Box<Self>> {
        let answer = &answered.answer;
        let read = outgoing.class == RequestClass::Read && outgoing.head.method == Method::GET;
        let streams = answer.held.is_none() && !answer.response.body().is_end_stream();
        let mut retry = outgoing.route().retry;
        if let Some(late) = answered.overtaken {
            retry.attempts = retry.attempts.saturating_sub(1);
            outgoing.decision.ranked.put_last(late);
        }
        if !read || !streams || outgoing.source.is_some() || retry.attempts < 2 {
            return None;
        }
        let alone = outgoing.decision.ranked.all().len() < 2
            && !proxy.has_another_endpoint(&outgoing, answered.region, answer.endpoint);
        if alone {
            return None;
        }
        let promise = Promise::of(&answer.response)?;
        Some(Box::new(Self {
            outgoing: Rc::new(outgoing),
            promise,
            retry,
            attempts: answered.attempts,
        }))
    }

    fn gave_way(&mut self, region: RegionId, error: ErrorKind, asked_to_wait: bool) {
        self.attempts.push(Attempt {
            region,
            error,
            asked_to_wait,
        });
    }
}

/// A region that was asked for the rest.
struct Asked {
    region: RegionId,
    endpoint: EndpointId,
    address: SocketAddr,
    answer: Pin<Box<dyn Future<Output = Result<Answer, AttemptError>>>>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Asked").field(&self.region).finish()
    }
}

/// A body that streams from one origin after another.
#[derive(Debug)]
pub(super) struct Resumable {
    proxy: Rc<Proxy>,
    rest: Box<Rest>,
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
    asked: Option<Asked>,
    /// Since when somebody has been asked; to the first byte that comes.
    since: Option<Timestamp>,
    /// Wakes us while the budget is spent: it has room again once other attempts end.
    unpaid: Option<StallWatch>,
    /// The endpoint that failed last.
    avoid: Option<EndpointId>,
    /// Endpoints whose failure counts against them once another one does better.
    blamed: Vec<Blame>,
    /// How the body broke off.
    error: Option<BodyError>,
}

impl Resumable {
    /// `body`, which comes from `place`, and whatever is needed to go on with it.
    pub(super) fn new(
        proxy: Rc<Proxy>,
        rest: Box<Rest>,
        body: OriginBody,
        place: (RegionId, EndpointId),
    ) -> Self {
        Self {
            patience: Some(proxy.stalls.watch(PATIENCE)),
            proxy,
            rest,
            sent: 0,
            body: Some(body),
            place,
            is_part: false,
            is_noted: false,
            asked: None,
            since: None,
            unpaid: None,
            avoid: None,
            blamed: Vec::new(),
            error: None,
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        // A part may be followed by the end of its own framing, which tells the viewer nothing.
        let ended = |body: &OriginBody| self.is_part || body.is_end_stream();
        self.left() == 0 && self.body.as_ref().is_some_and(ended)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }

    fn left(&self) -> u64 {
        self.rest.promise.length().saturating_sub(self.sent)
    }

    pub(super) fn poll_frame(
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
            for blame in self.blamed.drain(..) {
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
        if self.since.is_some() && bytes > 0 {
            self.goes_on(recorder);
        }
        Some(frame)
    }

    /// Bytes came after the body had broken off or stood still.
    fn goes_on(&mut self, recorder: &mut Recorder) {
        self.since = None;
        self.unpaid = None;
        self.patience = Some(self.proxy.stalls.watch(PATIENCE));
        for blame in self.blamed.drain(..) {
            self.proxy
                .blame(&self.rest.outgoing, blame, Verdict::Compared);
        }
        if let Some(asked) = self.asked.take() {
            recorder.overtaken(asked.region, asked.address);
            recorder.resumed(asked.region, ResumeResult::Overtaken);
            self.rest
                .gave_way(asked.region, ErrorKind::BodyBroken, false);
        }
    }

    fn broke(&mut self, error: BodyError, recorder: &mut Recorder) {
        let (region, endpoint) = self.place;
        self.body = None;
        self.error = Some(error);
        recorder.body_of(None);
        self.blamed.push(Blame {
            region,
            endpoint,
            kind: ErrorKind::BodyBroken,
        });
        if let Some(endpoint) = known(&self.rest.outgoing, endpoint) {
            self.proxy.tried(endpoint, false);
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
            match self.ask(recorder) {
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

    /// Asks the next region that may be asked, if it has an endpoint.
    fn ask(&mut self, recorder: &mut Recorder) -> Result<Option<Asked>, GiveUp> {
        if self.left() == 0 {
            return Err(GiveUp::NotRetryable);
        }
        let left = self.time_left();
        let (region, endpoint) = self.place;
        if !self.is_noted {
            self.is_noted = true;
            self.avoid = Some(endpoint);
            self.rest.gave_way(region, ErrorKind::BodyBroken, false);
        }
        let last = self.rest.attempts.last().copied();
        let (region, fresh) = match self.next(left) {
            Next::Try(region) => (region, false),
            Next::Again(region) => (region, true),
            Next::GiveUp(reason) => return Err(reason),
        };
        let charge = Charge {
            proxy: Rc::clone(&self.proxy),
            region,
        };
        if let Some(last) = last {
            recorder.failing_over(last.region, last.error, region);
        }
        let wish = Wish {
            avoid: self.avoid,
            ..Wish::default()
        };
        let outgoing = Rc::clone(&self.rest.outgoing);
        let Some(endpoint) = self.proxy.endpoint(&outgoing, region, wish) else {
            recorder.failed(region, None, ErrorKind::NoEndpoint);
            recorder.resumed(region, ResumeResult::Failed);
            self.rest.gave_way(region, ErrorKind::NoEndpoint, false);
            return Ok(None);
        };
        let (id, address) = (endpoint.id, endpoint.address);
        let head = self.rest.promise.rest(&outgoing.head, self.sent);
        let answer = {
            let outgoing = Rc::clone(&outgoing);
            async move {
                let endpoint = known(&outgoing, id).ok_or(AttemptError::NoEndpoint)?;
                let to = outgoing.to(region, endpoint, fresh, left);
                send(&charge.proxy.pools, &head, None, to).await
            }
        };
        Ok(Some(Asked {
            region,
            endpoint: id,
            address,
            answer: Box::pin(answer),
        }))
    }

    /// Until the viewer has seen nothing new for as long as a body may stand still. When it begins,
    /// what is believed now takes the place of what was believed when the body began.
    fn time_left(&mut self) -> Duration {
        let now = self.proxy.clock.now();
        if self.since.is_none() {
            self.since = Some(now);
            let live = self.proxy.live();
            if let Some(outgoing) = Rc::get_mut(&mut self.rest.outgoing)
                // Under another table regions have other numbers.
                && outgoing.live.snapshot.generation == live.snapshot.generation
            {
                outgoing.decision = outgoing.decision.renewed(&live.snapshot);
                outgoing.live = live;
            }
        }
        let limit = self.rest.outgoing.route().timeouts.body_progress;
        let since = self.since.unwrap_or(now);
        limit.saturating_sub(now.since(since))
    }

    fn next(&self, left: Duration) -> Next {
        let outgoing = &self.rest.outgoing;
        let last = self.rest.attempts.last().zip(self.avoid);
        let spare = last.is_some_and(|(last, endpoint)| {
            self.proxy
                .has_another_endpoint(outgoing, last.region, endpoint)
        });
        let facts = RetryFacts {
            retry: &self.rest.retry,
            ..facts(outgoing, left, spare)
        };
        let budget = &mut *self.proxy.budget.borrow_mut();
        let now = self.proxy.clock.now();
        next(&outgoing.decision, &self.rest.attempts, &facts, budget, now)
    }

    /// Takes in what a region answered; whether the body goes on with it.
    fn settle(
        &mut self,
        asked: &Asked,
        outcome: Result<Answer, AttemptError>,
        recorder: &mut Recorder,
    ) -> bool {
        let region = asked.region;
        let blame = |kind| Blame {
            region,
            endpoint: asked.endpoint,
            kind,
        };
        let (error, asked_to_wait) = match outcome {
            Ok(answer) => {
                let fits = self.rest.promise.continues(&answer.response, self.sent);
                recorder.continued(region, asked.address, &answer, fits);
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
                        self.blamed.push(blame(ErrorKind::GatewayStatus));
                        (ErrorKind::GatewayStatus, false)
                    }
                    // Another version, or no ranges: no fault of the region.
                    None => (ErrorKind::BodyBroken, false),
                }
            }
            Err(error) => {
                let kind = error.kind();
                recorder.failed(region, Some(asked.address), kind);
                recorder.resumed(region, ResumeResult::Failed);
                if error.blames_the_origin() {
                    self.blamed.push(blame(kind));
                }
                (kind, false)
            }
        };
        self.avoid = Some(asked.endpoint);
        self.rest.gave_way(region, error, asked_to_wait);
        false
    }

    /// Goes on with `answer`; the connection that broke or stood still is dropped.
    fn splice(&mut self, asked: &Asked, answer: Answer, recorder: &mut Recorder) {
        let outgoing = &self.rest.outgoing;
        if self.body.take().is_some() {
            let late = self.place.1;
            self.proxy.tell(self.proxy.evidence.late(late, true));
            if let Some(late) = known(outgoing, late) {
                self.proxy.tried(late, false);
            }
        }
        if let Some(endpoint) = known(outgoing, asked.endpoint) {
            self.proxy.well(outgoing, asked.region, endpoint, &answer);
        }
        self.place = (asked.region, asked.endpoint);
        self.is_part = true;
        self.is_noted = false;
        self.error = None;
        self.patience = Some(self.proxy.stalls.watch(PATIENCE));
        recorder.body_of(Some(self.place));
        let limit = outgoing.route().timeouts.body_progress;
        self.body = Some(self.proxy.origin_body(answer, limit).into_body());
    }
}

fn known(outgoing: &Outgoing, endpoint: EndpointId) -> Option<&EndpointState> {
    let (_, endpoint) = outgoing.live.snapshot.endpoint(endpoint)?;
    Some(endpoint)
}
