//! An endpoint's health in a form that outlives the process.

use serde::{Deserialize, Serialize};

use crate::health::state::{Condemner, Health, HealthState, MOST_RELAPSES};

/// What of a [`HealthState`] is worth keeping. Streaks, trials and suspicions are not: what they
/// count happened in a row, and a restart broke the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHealth {
    /// What was believed.
    pub health: Health,
    /// Whose evidence made it unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condemned_by: Option<Condemner>,
    /// How often traffic condemned it lately.
    #[serde(default)]
    pub relapses: u8,
}

impl HealthState {
    /// What is worth keeping.
    #[must_use]
    pub fn keep(&self) -> KeptHealth {
        KeptHealth {
            health: self.health,
            condemned_by: self.condemned_by,
            relapses: self.relapses,
        }
    }
}

impl KeptHealth {
    /// The state that goes on from here: unhealthy stays so until probes, and where traffic
    /// condemned it real requests, say otherwise.
    #[must_use]
    pub fn recall(&self) -> HealthState {
        let unhealthy = self.health == Health::Unhealthy;
        HealthState {
            health: self.health,
            condemned_by: self.condemned_by.filter(|_| unhealthy),
            relapses: self.relapses.min(MOST_RELAPSES),
            ..HealthState::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::state::Limits;
    use crate::model::time::Timestamp;

    const LIMITS: Limits = Limits { rise: 2, fall: 3 };

    #[test]
    fn what_traffic_condemned_needs_a_trial_after_a_restart_too() {
        let mut state = HealthState::default();
        state.observe(true, LIMITS, Timestamp::ZERO);
        state.traffic_failed(5);
        let mut recalled = state.keep().recall();
        assert_eq!(recalled.condemned_by(), Some(Condemner::Traffic));
        for _ in 0..LIMITS.rise {
            assert_eq!(recalled.observe(true, LIMITS, Timestamp::ZERO), None);
        }
        assert!(recalled.is_on_trial());
        assert_eq!(recalled.keep(), state.keep());
    }

    #[test]
    fn failures_in_a_row_do_not_outlive_the_process() {
        let mut state = HealthState::default();
        state.observe(true, LIMITS, Timestamp::ZERO);
        state.observe(false, LIMITS, Timestamp::ZERO);
        let recalled = state.keep().recall();
        assert_eq!((recalled.health(), recalled.streak()), (Health::Healthy, 0));
    }
}
