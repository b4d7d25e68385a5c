//! An endpoint's health in a form that outlives the process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::rise_fall::{EjectedBy, Health, HealthState, MOST_RELAPSES};

/// A restart that takes longer breaks every row of results: twelve default probe intervals.
const STREAK_LASTS: Duration = Duration::from_secs(60);

/// What of a [`HealthState`] is worth keeping. Probation and suspicions are not: whether requests are
/// served is found out anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedHealth {
    /// What was believed.
    pub health: Health,
    /// Whose evidence made it unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ejected_by: Option<EjectedBy>,
    /// How often traffic ejected it lately.
    #[serde(default)]
    pub relapses: u8,
    /// Results in a row that contradict it.
    #[serde(default)]
    pub streak: u32,
}

impl HealthState {
    /// What is worth keeping.
    #[must_use]
    pub fn save(&self) -> SavedHealth {
        SavedHealth {
            health: self.health,
            ejected_by: self.ejected_by,
            relapses: self.relapses,
            streak: self.streak,
        }
    }
}

impl SavedHealth {
    /// The state that goes on after nobody looked for as long as `away`: unhealthy stays so until
    /// probes, and where traffic ejected it real requests, say otherwise.
    #[must_use]
    pub fn restore(&self, away: Duration) -> HealthState {
        let unhealthy = self.health == Health::Unhealthy;
        HealthState {
            health: self.health,
            ejected_by: self.ejected_by.filter(|_| unhealthy),
            relapses: self.relapses.min(MOST_RELAPSES),
            streak: if away <= STREAK_LASTS { self.streak } else { 0 },
            ..HealthState::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::rise_fall::Limits;
    use crate::model::time::Timestamp;
    use crate::table::traffic_policy::ProbationPolicy;

    const LIMITS: Limits = Limits {
        rise: 2,
        fall: 3,
        probation: ProbationPolicy {
            answers: 10,
            timeout: Duration::from_secs(60),
            interval: Duration::from_millis(100),
            backoff_max: Duration::from_secs(60),
        },
    };

    #[test]
    fn what_traffic_ejected_needs_probation_after_a_restart_too() {
        let mut state = HealthState::default();
        state.observe(true, LIMITS, Timestamp::ZERO);
        state.traffic_failed(5);
        let mut restored = state.save().restore(Duration::from_secs(3600));
        assert_eq!(restored.ejected_by(), Some(EjectedBy::Traffic));
        for _ in 0..LIMITS.rise {
            assert_eq!(restored.observe(true, LIMITS, Timestamp::ZERO), None);
        }
        assert!(restored.is_on_probation());
        assert_eq!(restored.save(), state.save());
    }

    #[test]
    fn a_row_of_results_outlives_a_short_restart_only() {
        let mut state = HealthState::default();
        state.observe(true, LIMITS, Timestamp::ZERO);
        state.observe(false, LIMITS, Timestamp::ZERO);
        for (away, streak) in [(60, 1), (61, 0)] {
            let restored = state.save().restore(Duration::from_secs(away));
            assert_eq!(restored.health(), Health::Healthy);
            assert_eq!(restored.streak(), streak);
        }
    }
}
