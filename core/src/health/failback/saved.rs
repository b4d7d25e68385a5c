//! A region's failback in a form that outlives the process: moments become durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::failback::{CALM, EXCUSE, Failback, MAX_DOUBLINGS, STEPS, Stage};
use crate::model::time::Timestamp;
use crate::table::failback::{FailbackConfig, FailbackMode};

/// Regions that wait for a person for longer than this are told apart by nothing.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// A [`Failback`] as it was at one moment, and the settings it followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedFailback {
    mode: FailbackMode,
    hold_down_ms: u64,
    ramp_ms: u64,
    stage: SavedStage,
    served: bool,
    #[serde(default)]
    doublings: u8,
    #[serde(default)]
    returned: bool,
    /// For how long nothing was held against it.
    #[serde(default)]
    calm_ms: u64,
    /// For how much longer it may return at once.
    #[serde(default)]
    excused_ms: u64,
    /// For how long it has been well, while it returns.
    #[serde(default)]
    well_ms: u64,
    /// How long ago it fell.
    #[serde(default)]
    fell_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedStage {
    Full,
    Down,
    HoldDown { left_ms: u64 },
    Ramping { done_ms: u64, share: u8 },
    AwaitingConfirm,
}

impl Failback {
    /// How it is at `now`, under `config`.
    #[must_use]
    pub fn save(&self, config: &FailbackConfig, now: Timestamp) -> SavedFailback {
        let left = |until: Timestamp| millis(until.since(now));
        SavedFailback {
            mode: config.mode,
            hold_down_ms: millis(config.hold_down),
            ramp_ms: millis(config.ramp),
            stage: match self.stage {
                Stage::Full => SavedStage::Full,
                Stage::Down => SavedStage::Down,
                Stage::HoldDown => SavedStage::HoldDown {
                    left_ms: left(self.hold_down_until),
                },
                Stage::Ramping { share } => SavedStage::Ramping {
                    done_ms: millis(self.ramp_done),
                    share,
                },
                Stage::AwaitingConfirm => SavedStage::AwaitingConfirm,
            },
            served: self.proven,
            doublings: self.doublings,
            returned: self.returned,
            // More than that is forgiven by then, and would only make each writing differ.
            calm_ms: millis(now.since(self.calm_since).min(CALM)),
            excused_ms: left(self.excused_until),
            well_ms: match self.stage {
                Stage::Full | Stage::Down => 0,
                _ => millis(now.since(self.well_since).min(LONG)),
            },
            fell_ms: match self.stage {
                Stage::Full if !self.returned => 0,
                _ => millis(now.since(self.fell_at).min(LONG)),
            },
        }
    }
}

impl SavedFailback {
    /// Whether it followed these settings.
    #[must_use]
    pub fn followed(&self, config: &FailbackConfig) -> bool {
        let written = (config.mode, millis(config.hold_down), millis(config.ramp));
        (self.mode, self.hold_down_ms, self.ramp_ms) == written
    }

    /// How far the return was.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.stage {
            SavedStage::Full => Stage::Full,
            SavedStage::Down => Stage::Down,
            SavedStage::HoldDown { .. } => Stage::HoldDown,
            SavedStage::Ramping { share, .. } => Stage::Ramping { share },
            SavedStage::AwaitingConfirm => Stage::AwaitingConfirm,
        }
    }

    /// The failback that goes on at `now`, after nobody looked for as long as `away`. A hold-down ran
    /// on meanwhile; a ramp, and the calm that is forgiven for, did not: nobody used the region.
    #[must_use]
    pub fn restore(&self, config: &FailbackConfig, away: Duration, now: Timestamp) -> Failback {
        let doublings = self.doublings.min(MAX_DOUBLINGS);
        let left = |saved: u64, most: Duration| {
            now + Duration::from_millis(saved).min(most).saturating_sub(away)
        };
        let (left_ms, done_ms) = match self.stage {
            SavedStage::HoldDown { left_ms } => (left_ms, 0),
            SavedStage::Ramping { done_ms, .. } => (0, done_ms),
            _ => (0, 0),
        };
        Failback {
            stage: match self.stage() {
                Stage::Ramping { share } if !STEPS.contains(&share) => {
                    Stage::Ramping { share: STEPS[0] }
                }
                stage => stage,
            },
            // An operator may have made it shorter.
            hold_down_until: left(left_ms, config.hold_down.saturating_mul(1 << doublings)),
            ramp_done: Duration::from_millis(done_ms),
            ramp_seen: now,
            proven: self.served,
            doublings,
            returned: self.returned,
            calm_since: now - Duration::from_millis(self.calm_ms).min(CALM),
            excused_until: left(self.excused_ms, EXCUSE),
            fell_at: now - Duration::from_millis(self.fell_ms).min(LONG),
            well_since: now - Duration::from_millis(self.well_ms).min(LONG),
            worse_since: None,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: FailbackConfig = FailbackConfig {
        mode: FailbackMode::Auto,
        hold_down: Duration::from_secs(60),
        hold_down_at_least: Duration::from_secs(2),
        ramp: Duration::from_secs(300),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn held(seconds: u64) -> Failback {
        Failback {
            stage: Stage::HoldDown,
            hold_down_until: at(seconds),
            proven: true,
            ..Failback::default()
        }
    }

    #[test]
    fn a_hold_down_goes_on_and_counts_the_time_away() {
        let saved = held(100).save(&CONFIG, at(60));
        let restored = saved.restore(&CONFIG, Duration::from_secs(15), at(1));
        assert_eq!(restored.hold_down_until(), Some(at(26)));
        let restored = saved.restore(&CONFIG, Duration::from_secs(500), at(1));
        assert_eq!(restored.hold_down_until(), Some(at(1)));
    }

    #[test]
    fn a_hold_down_is_never_longer_than_the_settings_of_now() {
        let short = FailbackConfig {
            hold_down: Duration::from_secs(5),
            ..CONFIG
        };
        let saved = held(100).save(&CONFIG, at(60));
        assert!(saved.followed(&CONFIG) && !saved.followed(&short));
        let restored = saved.restore(&short, Duration::ZERO, at(1));
        assert_eq!(restored.hold_down_until(), Some(at(6)));
    }

    #[test]
    fn a_ramp_goes_on_where_it_stood() {
        let ramping = Failback {
            stage: Stage::Ramping { share: STEPS[1] },
            ramp_done: Duration::from_secs(80),
            ramp_seen: at(500),
            proven: true,
            ..Failback::default()
        };
        let saved = ramping.save(&CONFIG, at(500));
        let restored = saved.restore(&CONFIG, Duration::from_secs(900), at(1));
        assert_eq!(restored.stage(), Stage::Ramping { share: STEPS[1] });
        let ramp = (restored.ramp_done, restored.ramp_seen);
        assert_eq!(ramp, (Duration::from_secs(80), at(1)));
    }

    #[test]
    fn of_regions_that_wait_the_one_that_was_well_first_stays_the_first() {
        let waits = |since| Failback {
            stage: Stage::AwaitingConfirm,
            well_since: at(since),
            ..Failback::default()
        };
        let restored = |since| {
            let saved = waits(since).save(&CONFIG, at(900));
            saved.restore(&CONFIG, Duration::from_secs(5), at(1))
        };
        assert!(restored(100).well_since() < restored(800).well_since());
    }

    #[test]
    fn doublings_outlive_the_process_and_stay_bounded() {
        let flapping = Failback {
            doublings: 2,
            ..held(100)
        };
        let mut saved = flapping.save(&CONFIG, at(60));
        assert_eq!(saved.restore(&CONFIG, Duration::ZERO, at(1)).doublings, 2);
        saved.doublings = 200;
        let restored = saved.restore(&CONFIG, Duration::ZERO, at(1));
        assert_eq!(restored.doublings, MAX_DOUBLINGS);
    }
}
