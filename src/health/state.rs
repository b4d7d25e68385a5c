//! Rise and fall: results in a row flip the state.

/// What probes and traffic say of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
}

/// Whose evidence made an endpoint unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condemner {
    /// Probes failed.
    Probe,
    /// Requests failed, whatever probes said.
    Traffic,
}

impl Condemner {
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
    condemned_by: Option<Condemner>,
    /// How often traffic condemned it lately: each time probes must speak for it twice as long.
    relapses: u8,
    /// Probes that passed since it is healthy.
    calm: u8,
}

/// Doublings at most: 64 probes with the default rise, about a minute of fast ones.
const MOST_RELAPSES: u8 = 5;

/// Probes that must pass on a healthy endpoint until its relapses are forgotten: five minutes
/// with the default interval.
const CALM: u8 = 60;

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
    pub fn condemned_by(&self) -> Option<Condemner> {
        self.condemned_by
    }

    /// Whether the next results may flip it: time to probe faster.
    #[must_use]
    pub fn is_changing(&self) -> bool {
        self.health == Health::Unproven || self.streak > 0
    }

    /// Counts a probe's result.
    pub fn observe(&mut self, passed: bool, limits: Limits) -> Option<Flip> {
        let agrees = match self.health {
            Health::Healthy => passed,
            Health::Unhealthy => !passed,
            // One success is all there is to know at a start; waiting for more would leave a
            // new endpoint idle for no reason.
            Health::Unproven if passed => return Some(self.flip(Health::Healthy, 1, None)),
            Health::Unproven => false,
        };
        if agrees {
            self.streak = 0;
            if passed {
                self.calm = self.calm.saturating_add(1);
                if self.calm >= CALM {
                    self.relapses = 0;
                }
            }
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        let (needed, to, condemner) = if passed {
            (self.rise_needed(limits.rise), Health::Healthy, None)
        } else {
            (limits.fall, Health::Unhealthy, Some(Condemner::Probe))
        };
        (self.streak >= needed.max(1)).then(|| self.flip(to, self.streak, condemner))
    }

    /// Condemns at once: `in_a_row` real requests failed, which is proof enough.
    ///
    /// On an endpoint that is unhealthy already it starts the count of successes anew and
    /// records that traffic, too, found it bad.
    pub fn traffic_failed(&mut self, in_a_row: u32) -> Option<Flip> {
        let was = self.health;
        if was != Health::Unhealthy {
            self.relapses = (self.relapses + 1).min(MOST_RELAPSES);
        }
        let flip = self.flip(Health::Unhealthy, in_a_row, Some(Condemner::Traffic));
        (was != Health::Unhealthy).then_some(flip)
    }

    /// A probe is not what condemned an endpoint whose requests failed, and its passing proves
    /// little: the more often traffic found otherwise, the more of them it takes.
    fn rise_needed(&self, rise: u32) -> u32 {
        match self.condemned_by {
            Some(Condemner::Traffic) => rise.max(1) << self.relapses.min(MOST_RELAPSES),
            _ => rise,
        }
    }

    fn flip(&mut self, to: Health, in_a_row: u32, condemned_by: Option<Condemner>) -> Flip {
        let from = std::mem::replace(&mut self.health, to);
        self.streak = 0;
        self.calm = 0;
        self.condemned_by = condemned_by;
        Flip { from, to, in_a_row }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rise: 2, fall: 3 };

    fn after(results: &[bool]) -> HealthState {
        let mut state = HealthState::default();
        for passed in results {
            state.observe(*passed, LIMITS);
        }
        state
    }

    #[test]
    fn one_success_proves_a_new_endpoint() {
        let mut state = HealthState::default();
        let flip = state.observe(true, LIMITS).unwrap();
        assert_eq!((flip.from, flip.to), (Health::Unproven, Health::Healthy));
        assert!(!state.is_changing());
    }

    #[test]
    fn a_new_endpoint_falls_after_as_many_failures_as_any() {
        assert_eq!(after(&[false, false]).health(), Health::Unproven);
        let fallen = after(&[false, false, false]);
        assert_eq!(fallen.health(), Health::Unhealthy);
        assert_eq!(fallen.condemned_by(), Some(Condemner::Probe));
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
        assert_eq!(back.condemned_by(), None);
    }

    #[test]
    fn an_endpoint_that_stays_down_is_not_changing() {
        assert!(!after(&[true, false, false, false, false]).is_changing());
    }

    #[test]
    fn traffic_condemns_at_once_and_probes_bring_back() {
        let mut state = after(&[true]);
        let flip = state.traffic_failed(5).unwrap();
        assert_eq!((flip.to, flip.in_a_row), (Health::Unhealthy, 5));
        assert_eq!(state.condemned_by(), Some(Condemner::Traffic));
        for _ in 1..2 * LIMITS.rise {
            assert_eq!(state.observe(true, LIMITS), None);
        }
        assert!(state.observe(true, LIMITS).is_some());
    }

    #[test]
    fn failing_traffic_resets_the_return_of_a_condemned_endpoint() {
        let mut state = after(&[false, false, false, true]);
        assert_eq!(state.traffic_failed(5), None);
        assert_eq!(state.condemned_by(), Some(Condemner::Traffic));
        assert_eq!(state.observe(true, LIMITS), None);
    }

    #[test]
    fn each_relapse_by_traffic_takes_twice_the_probes_until_it_is_calm_again() {
        let limits = Limits { rise: 2, fall: 3 };
        let mut state = HealthState::default();
        state.observe(true, limits);
        let returns = |state: &mut HealthState| {
            (1..1000)
                .find(|_| state.observe(true, limits).is_some())
                .unwrap()
        };
        for needed in [4, 8, 16, 32, 64, 64] {
            state.traffic_failed(5);
            assert_eq!(returns(&mut state), needed);
        }
        for _ in 0..CALM {
            state.observe(true, limits);
        }
        state.traffic_failed(5);
        assert_eq!(returns(&mut state), 4);
    }
}
