//! A region's way back in a form that outlives the process: moments become durations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::failback::{CALM, EXCUSE, Failback, MAX_DOUBLINGS, STEPS, Stage};
use crate::model::time::Timestamp;
use crate::table::failback::{FailbackConfig, FailbackMode};

/// Regions that wait for a person for longer than this are told apart by nothing.
const LONG: Duration = Duration::from_secs(7 * 24 * 3600);

/// A [`Failback`] as it was at one moment, and the settings it followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFailback {
    mode: FailbackMode,
    hold_ms: u64,
    ramp_ms: u64,
    stage: KeptStage,
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
    /// For how long it has been well, while it is on its way.
    #[serde(default)]
    well_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptStage {
    Full,
    Down,
    Held { left_ms: u64 },
    Ramping { done_ms: u64, share: u8 },
    AwaitingConfirm,
}

impl Failback {
    /// How it is at `now`, under `config`.
    #[must_use]
    pub fn keep(&self, config: &FailbackConfig, now: Timestamp) -> KeptFailback {
        let left = |until: Timestamp| millis(until.since(now));
        KeptFailback {
            mode: config.mode,
            hold_ms: millis(config.hold),
            ramp_ms: millis(config.ramp),
            stage: match self.stage {
                Stage::Full => KeptStage::Full,
                Stage::Down => KeptStage::Down,
                Stage::Held { until } => KeptStage::Held {
                    left_ms: left(until),
                },
                Stage::Ramping { done, share, .. } => KeptStage::Ramping {
                    done_ms: millis(done),
                    share,
                },
                Stage::AwaitingConfirm => KeptStage::AwaitingConfirm,
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
        }
    }
}

impl KeptFailback {
    /// Whether it followed these settings.
    #[must_use]
    pub fn followed(&self, config: &FailbackConfig) -> bool {
        let written = (config.mode, millis(config.hold), millis(config.ramp));
        (self.mode, self.hold_ms, self.ramp_ms) == written
    }

    /// The stage as a word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.stage {
            KeptStage::Full => "full",
            KeptStage::Down => "down",
            KeptStage::Held { .. } => "held",
            KeptStage::Ramping { .. } => "ramping",
            KeptStage::AwaitingConfirm => "awaiting_confirm",
        }
    }

    /// Percent of the viewers.
    #[must_use]
    pub fn share(&self) -> u8 {
        match self.stage {
            KeptStage::Full => 100,
            KeptStage::Ramping { share, .. } => share,
            KeptStage::Down | KeptStage::Held { .. } | KeptStage::AwaitingConfirm => 0,
        }
    }

    /// The way back that goes on at `now`, after nobody looked for as long as `away`. A hold ran
    /// on meanwhile; a ramp, and the calm that is forgiven for, did not: nobody used the region.
    #[must_use]
    pub fn recall(&self, config: &FailbackConfig, away: Duration, now: Timestamp) -> Failback {
        let doublings = self.doublings.min(MAX_DOUBLINGS);
        let left = |kept: u64, most: Duration| {
            now + Duration::from_millis(kept).min(most).saturating_sub(away)
        };
        let stage = match self.stage {
            KeptStage::Full => Stage::Full,
            KeptStage::Down => Stage::Down,
            KeptStage::Held { left_ms } => Stage::Held {
                // An operator may have made the hold shorter.
                until: left(left_ms, config.hold.saturating_mul(1 << doublings)),
            },
            KeptStage::Ramping { done_ms, share } => Stage::Ramping {
                done: Duration::from_millis(done_ms),
                seen: now,
                share: if STEPS.contains(&share) {
                    share
                } else {
                    STEPS[0]
                },
            },
            KeptStage::AwaitingConfirm => Stage::AwaitingConfirm,
        };
        Failback {
            stage,
            proven: self.served,
            doublings,
            returned: self.returned,
            calm_since: now - Duration::from_millis(self.calm_ms).min(CALM),
            excused_until: left(self.excused_ms, EXCUSE),
            well_since: now - Duration::from_millis(self.well_ms).min(LONG),
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
        hold: Duration::from_secs(60),
        ramp: Duration::from_secs(300),
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    fn held(seconds: u64) -> Failback {
        Failback {
            stage: Stage::Held { until: at(seconds) },
            proven: true,
            ..Failback::default()
        }
    }

    #[test]
    fn a_hold_goes_on_and_counts_the_time_away() {
        let kept = held(100).keep(&CONFIG, at(60));
        let recalled = kept.recall(&CONFIG, Duration::from_secs(15), at(1));
        assert_eq!(recalled.stage(), Stage::Held { until: at(26) });
        let recalled = kept.recall(&CONFIG, Duration::from_secs(500), at(1));
        assert_eq!(recalled.stage(), Stage::Held { until: at(1) });
    }

    #[test]
    fn a_hold_is_never_longer_than_the_settings_of_now() {
        let short = FailbackConfig {
            hold: Duration::from_secs(5),
            ..CONFIG
        };
        let kept = held(100).keep(&CONFIG, at(60));
        assert!(kept.followed(&CONFIG) && !kept.followed(&short));
        let recalled = kept.recall(&short, Duration::ZERO, at(1));
        assert_eq!(recalled.stage(), Stage::Held { until: at(6) });
    }

    #[test]
    fn a_ramp_goes_on_where_it_stood() {
        let ramping = Failback {
            stage: Stage::Ramping {
                done: Duration::from_secs(80),
                seen: at(500),
                share: STEPS[1],
            },
            proven: true,
            ..Failback::default()
        };
        let kept = ramping.keep(&CONFIG, at(500));
        let recalled = kept.recall(&CONFIG, Duration::from_secs(900), at(1));
        let expected = Stage::Ramping {
            done: Duration::from_secs(80),
            seen: at(1),
            share: STEPS[1],
        };
        assert_eq!(recalled.stage(), expected);
    }

    #[test]
    fn of_regions_that_wait_the_one_that_was_well_first_stays_the_first() {
        let waits = |since| Failback {
            stage: Stage::AwaitingConfirm,
            well_since: at(since),
            ..Failback::default()
        };
        let recalled = |since| {
            let kept = waits(since).keep(&CONFIG, at(900));
            kept.recall(&CONFIG, Duration::from_secs(5), at(1))
        };
        assert!(recalled(100).well_since() < recalled(800).well_since());
    }

    #[test]
    fn doublings_outlive_the_process_and_stay_bounded() {
        let flapping = Failback {
            doublings: 2,
            ..held(100)
        };
        let mut kept = flapping.keep(&CONFIG, at(60));
        assert_eq!(kept.recall(&CONFIG, Duration::ZERO, at(1)).doublings, 2);
        kept.doublings = 200;
        let recalled = kept.recall(&CONFIG, Duration::ZERO, at(1));
        assert_eq!(recalled.doublings, MAX_DOUBLINGS);
    }
}
