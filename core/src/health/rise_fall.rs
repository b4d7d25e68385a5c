//! Rise and fall: results in a row flip the state, and probation by real requests where traffic did.

pub mod saved;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;
use crate::table::traffic_policy::ProbationPolicy;

/// What probes and traffic say of an endpoint.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It serves.
    Healthy,
    /// Nothing is known yet; it may serve, after the healthy ones.
    #[default]
    Unproven,
    /// It does not serve.
    Unhealthy,
}

impl Health {
    /// The state as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unproven => "unproven",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// How many results in a row it takes to change a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Successes until an unhealthy endpoint is healthy; 0 counts as 1.
    pub rise: u32,
    /// Failures until an endpoint is unhealthy; 0 counts as 1.
    pub fall: u32,
    /// What one that live requests ejected must answer to return.
    pub probation: ProbationPolicy,
}

/// Whose evidence made an endpoint unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EjectedBy {
    /// Probes failed.
    Probe,
    /// Requests failed, whatever probes said.
    Traffic,
}

impl EjectedBy {
    /// The source of the evidence as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Traffic => "traffic",
        }
    }
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Before.
    pub from: Health,
    /// After.
    pub to: Health,
    /// How many results in a row did it.
    pub in_a_row: u32,
}

/// An endpoint's health and what speaks against it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthState {
    health: Health,
    /// Results in a row that contradict `health`.
    streak: u32,
    ejected_by: Option<EjectedBy>,
    /// Real requests that try it, once its probes pass again after traffic ejected it.
    probation: Option<Probation>,
    /// Probations that failed since it was last healthy, and when the last one did.
    failed_probations: u8,
    probation_failed: Timestamp,
    /// How often traffic ejected it lately: each time more real requests must speak for it.
    relapses: u8,
    /// Probes that passed since it is healthy.
    calm: u8,
    /// When a request last failed there in a way worth a probe at once.
    suspected: Option<Timestamp>,
    /// When the newest results in a row that contradicted the state began.
    contradicted_since: Timestamp,
    /// How often it was ejected; wraps.
    ejections: u32,
}

/// How far probation by real requests has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probation {
    /// Good answers in a row.
    good: u32,
    /// When it began, or when the last answer came.
    heard: Timestamp,
}

/// Between a failed probation and the next, at first: a fault of a second or two is over by then.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// Relapses that count: the first takes the usual probation, each further one twice as many answers as
/// the one before, so 40 at most.
const MOST_RELAPSES: u8 = 3;

/// Probes that must pass on a healthy endpoint until its relapses are forgotten: five minutes
/// with the default interval.
const CALM: u8 = 60;

/// A suspicion is news again after so long, and probes are fast meanwhile.
pub const SUSPICION: Duration = Duration::from_secs(1);

impl HealthState {
    /// What is believed.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health
    }

    /// Results in a row that contradict the state.
    #[must_use]
    pub fn streak(&self) -> u32 {
        self.streak
    }

    /// Whose evidence made it unhealthy; `None` while it is not.
    #[must_use]
    pub fn ejected_by(&self) -> Option<EjectedBy> {
        self.ejected_by
    }

    /// Whether a few real requests should go there, to find out whether it serves them.
    #[must_use]
    pub fn is_on_probation(&self) -> bool {
        self.probation.is_some()
    }

    /// When a request last failed there in a way worth a probe at once.
    #[must_use]
    pub fn suspected(&self) -> Option<Timestamp> {
        self.suspected
    }

    /// When the newest results in a row that contradicted the state began.
    #[must_use]
    pub fn contradicted_since(&self) -> Timestamp {
        self.contradicted_since
    }

    /// How often it was ejected: what was sent before the last time says nothing of after.
    #[must_use]
    pub fn ejections(&self) -> u32 {
        self.ejections
    }

    /// Whether the next results may flip it: time to probe faster.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.health == Health::Unproven || self.streak > 0
    }

    /// Counts a probe's result.
    pub fn observe(&mut self, passed: bool, limits: Limits, now: Timestamp) -> Option<Flip> {
        if passed && self.probation.is_some() {
            return self.time_out(&limits.probation, now);
        }
        let agrees = match self.health {
            Health::Healthy => passed,
            Health::Unhealthy => !passed,
            // One success is all there is to know at a start; waiting for more would leave a
            // new endpoint idle for no reason.
            Health::Unproven if passed => return Some(self.flip(Health::Healthy, 1, None)),
            Health::Unproven => false,
        };
        if agrees {
            self.agree(passed);
            return None;
        }
        if self.streak == 0 {
            self.contradicted_since = now;
        }
        self.streak = self.streak.saturating_add(1);
        if passed {
            if self.streak < limits.rise.max(1) {
                return None;
            }
            if self.ejected_by == Some(EjectedBy::Traffic) {
                if now.since(self.probation_failed) >= self.backoff(&limits.probation) {
                    self.begin_probation(now);
                }
                return None;
            }
            return Some(self.flip(Health::Healthy, self.streak, None));
        }
        (self.streak >= limits.fall.max(1)).then(|| {
            let by = Some(EjectedBy::Probe);
            self.flip(Health::Unhealthy, self.streak, by)
        })
    }

    /// Ejects at once: `in_a_row` real requests failed, which is proof enough.
    ///
    /// On an endpoint that is unhealthy already it starts the count of successes anew and
    /// records that traffic, too, found it bad.
    pub fn traffic_failed(&mut self, in_a_row: u32) -> Option<Flip> {
        let was = self.health;
        if was != Health::Unhealthy {
            self.relapses = (self.relapses + 1).min(MOST_RELAPSES);
        }
        let flip = self.flip(Health::Unhealthy, in_a_row, Some(EjectedBy::Traffic));
        (was != Health::Unhealthy).then_some(flip)
    }

    /// A probation request was answered, well or not.
    pub fn probation_answered(
        &mut self,
        good: bool,
        policy: &ProbationPolicy,
        now: Timestamp,
    ) -> Option<Flip> {
        let probation = self.probation.as_mut()?;
        if !good {
            // Its probes have to pass again before the next requests are copied to it.
            self.probation = None;
            self.streak = 0;
            self.failed_probations = self.failed_probations.saturating_add(1);
            self.probation_failed = now;
            return None;
        }
        probation.good += 1;
        probation.heard = now;
        let good = probation.good;
        (good >= self.answers_needed(policy)).then(|| self.flip(Health::Healthy, good, None))
    }

    /// A request failed there: a probe should look at once. Says whether that is news.
    pub fn suspect(&mut self, now: Timestamp) -> bool {
        let news = self
            .suspected
            .is_none_or(|suspected| now.since(suspected) >= SUSPICION);
        if news {
            self.suspected = Some(now);
        }
        news
    }

    fn agree(&mut self, passed: bool) {
        self.streak = 0;
        if !passed {
            self.probation = None;
            return;
        }
        self.calm = self.calm.saturating_add(1);
        if self.calm >= CALM {
            self.relapses = 0;
        }
    }

    /// The more often traffic ejected it lately, the more requests must speak for it.
    fn answers_needed(&self, policy: &ProbationPolicy) -> u32 {
        policy
            .answers
            .saturating_mul(1 << self.relapses.saturating_sub(1).min(MOST_RELAPSES))
    }

    /// How long after the last failed probation the next may begin.
    fn backoff(&self, policy: &ProbationPolicy) -> Duration {
        let Some(doublings) = self.failed_probations.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1u32.checked_shl(doublings.into()).unwrap_or(u32::MAX);
        FIRST_BACKOFF.saturating_mul(factor).min(policy.backoff_max)
    }

    fn begin_probation(&mut self, now: Timestamp) {
        self.streak = 0;
        self.probation = Some(Probation {
            good: 0,
            heard: now,
        });
    }

    fn time_out(&mut self, policy: &ProbationPolicy, now: Timestamp) -> Option<Flip> {
        let probation = self.probation?;
        (now.since(probation.heard) >= policy.timeout)
            .then(|| self.flip(Health::Healthy, probation.good, None))
    }

    fn flip(&mut self, to: Health, in_a_row: u32, ejected_by: Option<EjectedBy>) -> Flip {
        let from = std::mem::replace(&mut self.health, to);
        self.streak = 0;
        self.calm = 0;
        self.probation = None;
        if to != Health::Unhealthy {
            self.failed_probations = 0;
        }
        self.ejected_by = ejected_by;
        if to == Health::Unhealthy {
            self.ejections = self.ejections.wrapping_add(1);
        }
        Flip { from, to, in_a_row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBATION: ProbationPolicy = ProbationPolicy {
        answers: 10,
        timeout: Duration::from_secs(60),
        interval: Duration::from_millis(100),
        backoff_max: Duration::from_secs(60),
    };

    const LIMITS: Limits = Limits {
        rise: 2,
        fall: 3,
        probation: PROBATION,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn after(results: &[bool]) -> HealthState {
        let mut state = HealthState::default();
        for passed in results {
            state.observe(*passed, LIMITS, at(0));
        }
        state
    }

    #[test]
    fn one_success_proves_a_new_endpoint() {
        let mut state = HealthState::default();
        let flip = state.observe(true, LIMITS, at(0)).unwrap();
        assert_eq!((flip.from, flip.to), (Health::Unproven, Health::Healthy));
        assert!(!state.is_changing());
    }

    #[test]
    fn a_new_endpoint_falls_after_as_many_failures_as_any() {
        assert_eq!(after(&[false, false]).health(), Health::Unproven);
        let fallen = after(&[false, false, false]);
        assert_eq!(fallen.health(), Health::Unhealthy);
        assert_eq!(fallen.ejected_by(), Some(EjectedBy::Probe));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let state = after(&[true, false, false, true, false, false]);
        assert_eq!(state.health(), Health::Healthy);
        assert!(state.is_changing());
        assert_eq!(state.streak(), 2);
    }

    #[test]
    fn an_unhealthy_endpoint_returns_after_rise_successes_in_a_row() {
        let down = [true, false, false, false];
        assert_eq!(
            after(&[&down[..], &[true]].concat()).health(),
            Health::Unhealthy
        );
        assert_eq!(
            after(&[&down[..], &[true, false, true]].concat()).health(),
            Health::Unhealthy
        );
        let back = after(&[&down[..], &[true, true]].concat());
        assert_eq!(back.health(), Health::Healthy);
        assert_eq!(back.ejected_by(), None);
    }

    #[test]
    fn an_endpoint_that_stays_down_is_not_changing() {
        assert!(!after(&[true, false, false, false, false]).is_changing());
    }

    fn ejected() -> HealthState {
        let mut state = after(&[true]);
        state.traffic_failed(5).unwrap();
        state
    }

    fn pass(state: &mut HealthState, times: u32) {
        for _ in 0..times {
            assert_eq!(state.observe(true, LIMITS, at(0)), None);
        }
    }

    #[test]
    fn what_traffic_ejected_returns_after_probation() {
        let mut state = ejected();
        assert_eq!(state.ejected_by(), Some(EjectedBy::Traffic));
        pass(&mut state, LIMITS.rise);
        assert!(state.is_on_probation());
        pass(&mut state, 100);
        for _ in 1..PROBATION.answers {
            assert_eq!(state.probation_answered(true, &PROBATION, at(1)), None);
        }
        assert_eq!(
            state
                .probation_answered(true, &PROBATION, at(1))
                .unwrap()
                .to,
            Health::Healthy
        );
    }

    #[test]
    fn one_bad_answer_ends_a_probation_and_probes_must_pass_again() {
        let mut state = ejected();
        pass(&mut state, LIMITS.rise);
        assert_eq!(state.probation_answered(false, &PROBATION, at(1)), None);
        assert!(!state.is_on_probation());
        for _ in 0..LIMITS.rise {
            assert!(!state.is_on_probation());
            assert_eq!(state.observe(true, LIMITS, at(2)), None);
        }
        assert!(state.is_on_probation());
    }

    /// The second at which the next probation begins, if probes pass each second from `second` on.
    fn next_probation(state: &mut HealthState, second: u64) -> u64 {
        let begins = |second: &u64| {
            assert_eq!(state.observe(true, LIMITS, at(*second)), None);
            state.is_on_probation()
        };
        (second..).find(begins).unwrap()
    }

    #[test]
    fn the_pause_after_a_failed_probation_doubles_up_to_a_minute() {
        let mut state = ejected();
        let mut now = next_probation(&mut state, 0);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            state.probation_answered(false, &PROBATION, at(now));
            let next = next_probation(&mut state, now);
            assert_eq!(next - now, pause);
            now = next;
        }
        for _ in 0..300 {
            state.probation_answered(false, &PROBATION, at(now));
            now = next_probation(&mut state, now);
        }
    }

    #[test]
    fn the_pause_is_the_first_one_again_once_it_was_healthy() {
        let mut state = ejected();
        let mut now = next_probation(&mut state, 0);
        for _ in 0..3 {
            state.probation_answered(false, &PROBATION, at(now));
            now = next_probation(&mut state, now);
        }
        let patient = state.observe(true, LIMITS, at(now + 60)).unwrap();
        assert_eq!(patient.to, Health::Healthy);
        state.traffic_failed(5).unwrap();
        let again = next_probation(&mut state, 100);
        state.probation_answered(false, &PROBATION, at(again));
        assert_eq!(next_probation(&mut state, again), again + 1);
    }

    #[test]
    fn a_failed_probe_ends_a_probation() {
        let mut state = ejected();
        pass(&mut state, LIMITS.rise);
        assert_eq!(state.observe(false, LIMITS, at(0)), None);
        assert!(!state.is_on_probation());
    }

    #[test]
    fn without_requests_that_could_try_it_the_probes_word_has_to_do() {
        let mut state = ejected();
        pass(&mut state, LIMITS.rise);
        let patient = state.observe(true, LIMITS, at(PROBATION.timeout.as_secs() - 1));
        assert_eq!(patient, None);
        let flip = state.observe(true, LIMITS, at(PROBATION.timeout.as_secs()));
        assert_eq!(flip.unwrap().to, Health::Healthy);
    }

    #[test]
    fn failing_traffic_resets_the_return_of_an_ejected_endpoint() {
        let mut state = after(&[false, false, false, true]);
        assert_eq!(state.traffic_failed(5), None);
        assert_eq!(state.ejected_by(), Some(EjectedBy::Traffic));
        pass(&mut state, 1);
    }

    #[test]
    fn each_relapse_takes_twice_the_answers_until_it_is_calm_again() {
        let mut state = after(&[true]);
        let returns = |state: &mut HealthState| {
            pass(state, LIMITS.rise);
            (1..1000)
                .find(|_| state.probation_answered(true, &PROBATION, at(1)).is_some())
                .unwrap()
        };
        for needed in [10, 20, 40, 40] {
            state.traffic_failed(5);
            assert_eq!(returns(&mut state), needed);
        }
        for _ in 0..CALM {
            state.observe(true, LIMITS, at(2));
        }
        state.traffic_failed(5);
        assert_eq!(returns(&mut state), 10);
    }

    #[test]
    fn a_suspicion_is_news_once_a_second() {
        let mut state = after(&[true]);
        assert!(state.suspect(at(5)));
        assert!(!state.suspect(at(5)));
        assert!(state.suspect(at(6)));
    }

    #[test]
    fn probation_takes_as_many_answers_and_as_long_as_was_written() {
        let probation = ProbationPolicy {
            answers: 3,
            timeout: Duration::from_secs(5),
            ..PROBATION
        };
        let limits = Limits {
            probation,
            ..LIMITS
        };
        let mut state = ejected();
        pass(&mut state, LIMITS.rise);
        let answers = (1..100).find(|_| {
            let flip = state.probation_answered(true, &probation, at(1));
            flip.is_some()
        });
        assert_eq!(answers, Some(3));
        let mut state = ejected();
        pass(&mut state, LIMITS.rise);
        assert_eq!(state.observe(true, limits, at(4)), None);
        assert!(state.observe(true, limits, at(5)).is_some());
    }
}
