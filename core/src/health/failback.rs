//! How traffic returns to a region that was out: a hold-down, then a ramp.

mod cause;
pub mod saved;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::time::Timestamp;
use crate::table::failback::{FailbackConfig, FailbackMode};

pub use crate::health::failback::cause::FailbackCause;

/// Percent of the viewers that a region gets, one step after the other; after the last, all.
pub const STEPS: [u8; 4] = [5, 10, 25, 50];

/// The ramp takes so many times as long as the fault did, if it does not take all that was written:
/// caches cool as long as nobody asks, and who was away for a moment is as warm as before.
pub const RAMP_FAULTS: u32 = 2;

/// How often the hold-down may double for a region that keeps falling: up to 16 times as long.
pub const MAX_DOUBLINGS: u8 = 4;

/// After so long without a fall one doubling is forgiven.
pub const CALM: Duration = Duration::from_secs(600);

/// How long a region that fell together with all others may return without a hold-down.
pub const EXCUSE: Duration = Duration::from_secs(30);

/// How far the return of a region is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// It gets all that it should.
    #[default]
    Full,
    /// It is unhealthy.
    Down,
    /// It is well again, and must stay so for a while.
    HoldDown,
    /// It gets a part of the viewers.
    Ramping {
        /// Percent of the viewers.
        #[serde(rename = "share_percent")]
        share: u8,
    },
    /// It is well, and an operator has to agree.
    AwaitingConfirm,
}

impl Stage {
    /// The stage as a metric label and log value.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Down => "down",
            Self::HoldDown => "hold_down",
            Self::Ramping { .. } => "ramping",
            Self::AwaitingConfirm => "awaiting_confirm",
        }
    }

    /// Percent of the viewers it may get, as far as coming back is concerned.
    #[must_use]
    pub fn share(self) -> u8 {
        match self {
            Self::Full => 100,
            Self::Ramping { share } => share,
            Self::Down | Self::HoldDown | Self::AwaitingConfirm => 0,
        }
    }
}

/// A region's return, under one `[failback]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failback {
    stage: Stage,
    /// The end of the hold-down, at that stage.
    hold_down_until: Timestamp,
    /// How much of the ramp is over, at that stage; stands still while the region does worse than
    /// others, and goes back when that lasts for longer than a step takes.
    ramp_done: Duration,
    /// When that was last looked at.
    ramp_seen: Timestamp,
    /// Whether it ever served: the first time is no return.
    proven: bool,
    doublings: u8,
    /// Whether it came back by hold-down and ramp, and has not been calm for long since.
    returned: bool,
    /// Since when nothing was held against it.
    calm_since: Timestamp,
    /// Until when it may return at once, because all fell with it.
    excused_until: Timestamp,
    /// When it fell; of one that keeps falling, for the first time.
    fell_at: Timestamp,
    /// Since when it has been well, after it was down.
    well_since: Timestamp,
    /// Since when it has done worse than others, at the ramp.
    worse_since: Option<Timestamp>,
}

/// What is known of a region when its return is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// It could serve.
    pub well: bool,
    /// A probe or a request got a good answer; without it nothing is known yet.
    pub proven: bool,
    /// No region is well: the fault is most likely on our side.
    pub shared: bool,
    /// It does worse than the others on the same routes.
    pub worse: bool,
    /// Percent of its endpoints that are well: it takes no larger a share than these can carry.
    pub capacity: u8,
    /// The operator wants it to serve.
    pub forced: bool,
}

impl Failback {
    /// Where it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Until when it must stay well, while it is in hold-down.
    #[must_use]
    pub fn hold_down_until(&self) -> Option<Timestamp> {
        (self.stage == Stage::HoldDown).then_some(self.hold_down_until)
    }

    /// Whether it ever served.
    #[must_use]
    pub fn has_served(&self) -> bool {
        self.proven
    }

    /// Since when it has been well, after it was down: of regions that all return
    /// the earliest has the traffic.
    #[must_use]
    pub fn well_since(&self) -> Timestamp {
        self.well_since
    }

    /// An operator agrees that it returns: what is left is the ramp. Says whether it waited for
    /// anything that this cuts short.
    pub fn confirm(&mut self, config: &FailbackConfig, now: Timestamp) -> bool {
        let waits = matches!(self.stage, Stage::AwaitingConfirm | Stage::HoldDown);
        if waits {
            self.begin_ramp(config, now);
        }
        waits
    }

    /// Takes in how the region is at `now`. Gives the reason if the stage changed.
    pub fn advance(
        &mut self,
        is: Condition,
        config: &FailbackConfig,
        now: Timestamp,
    ) -> Option<FailbackCause> {
        let before = self.stage;
        let cause = self.step(is, config, now);
        cause.filter(|_| before != self.stage)
    }

    fn step(
        &mut self,
        is: Condition,
        config: &FailbackConfig,
        now: Timestamp,
    ) -> Option<FailbackCause> {
        if is.shared {
            self.excused_until = now + EXCUSE;
        }
        if is.forced {
            self.stage = Stage::Full;
            return Some(FailbackCause::Forced);
        }
        if !is.well {
            self.fall(is, now);
            return Some(FailbackCause::Fell);
        }
        let first = !self.proven;
        self.proven |= is.proven;
        match self.stage {
            Stage::Full => {
                self.forgive(now);
                None
            }
            Stage::Down if first || now < self.excused_until => {
                self.stage = Stage::Full;
                self.calm_since = now;
                Some(match now < self.excused_until {
                    true => FailbackCause::Excused,
                    false => FailbackCause::FirstService,
                })
            }
            Stage::Down => {
                self.well_since = now;
                if config.mode != FailbackMode::Manual {
                    self.hold_down(config, now);
                }
                Some(self.after_hold_down(config, now))
            }
            Stage::HoldDown | Stage::AwaitingConfirm => Some(self.after_hold_down(config, now)),
            Stage::Ramping { .. } => Some(self.ramp(is, config, now)),
        }
    }

    fn fall(&mut self, is: Condition, now: Timestamp) {
        // What fell before it got any traffic back only begins its hold-down anew.
        let again = match self.stage {
            Stage::Down | Stage::HoldDown | Stage::AwaitingConfirm => false,
            Stage::Full => self.returned,
            Stage::Ramping { .. } => true,
        };
        if again && !is.shared {
            self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
        } else if self.stage == Stage::Full {
            self.fell_at = now;
        }
        self.calm_since = now;
        self.stage = Stage::Down;
    }

    /// Forgets one doubling for every calm while.
    fn forgive(&mut self, now: Timestamp) {
        if now.since(self.calm_since) >= CALM {
            self.returned = false;
            self.doublings = self.doublings.saturating_sub(1);
            self.calm_since = now;
        }
    }

    fn hold_down(&mut self, config: &FailbackConfig, now: Timestamp) {
        let hold_down = config.hold_down.min(self.fault(config));
        self.hold_down_until = now + hold_down.saturating_mul(1 << self.doublings);
        self.stage = Stage::HoldDown;
    }

    /// How long the fault lasted that it returns from.
    fn fault(&self, config: &FailbackConfig) -> Duration {
        let lasted = self.well_since.since(self.fell_at);
        lasted.max(config.hold_down_at_least)
    }

    /// How long the ramp takes: in proportion to the fault too.
    fn ramp_length(&self, config: &FailbackConfig) -> Duration {
        let ramp = self.fault(config).saturating_mul(RAMP_FAULTS);
        config.ramp.min(ramp.saturating_mul(1 << self.doublings))
    }

    fn after_hold_down(&mut self, config: &FailbackConfig, now: Timestamp) -> FailbackCause {
        if let Some(until) = self.hold_down_until()
            && now < until
        {
            let left = until.since(now);
            return FailbackCause::HoldDown { left };
        }
        if config.mode != FailbackMode::Auto {
            self.stage = Stage::AwaitingConfirm;
            return FailbackCause::AwaitsOperator;
        }
        self.begin_ramp(config, now);
        FailbackCause::HoldDownEnded
    }

    fn begin_ramp(&mut self, config: &FailbackConfig, now: Timestamp) {
        self.stage = if config.ramp.is_zero() {
            self.returned = true;
            self.calm_since = now;
            Stage::Full
        } else {
            (self.ramp_done, self.ramp_seen) = (Duration::ZERO, now);
            self.worse_since = None;
            Stage::Ramping { share: STEPS[0] }
        };
    }

    fn ramp(&mut self, is: Condition, config: &FailbackConfig, now: Timestamp) -> FailbackCause {
        let passed = now.since(self.ramp_seen);
        self.ramp_seen = now;
        self.worse_since = (is.worse).then(|| self.worse_since.unwrap_or(now));
        // A share that it cannot take yet is none that it does well with.
        let is_taken = self
            .step_share(config)
            .is_none_or(|share| share <= is.capacity);
        match self.worse_since {
            None if is_taken => self.ramp_done += passed,
            Some(since) if now.since(since) >= self.step_length(config) => {
                self.ramp_done = self.ramp_done.saturating_sub(passed);
            }
            None | Some(_) => {}
        }
        let Some(share) = self.step_share(config) else {
            self.stage = Stage::Full;
            self.returned = true;
            self.calm_since = now;
            return FailbackCause::RampEnded;
        };
        if share <= is.capacity {
            self.stage = Stage::Ramping { share };
            return FailbackCause::RampStep { share };
        }
        let share = is.capacity;
        self.stage = Stage::Ramping { share };
        FailbackCause::FewEndpoints { share }
    }

    /// The share of its step, while the ramp lasts.
    fn step_share(&self, config: &FailbackConfig) -> Option<u8> {
        let length = self.step_length(config).as_nanos();
        let step = self.ramp_done.as_nanos().checked_div(length)?;
        STEPS.get(usize::try_from(step).ok()?).copied()
    }

    fn step_length(&self, config: &FailbackConfig) -> Duration {
        self.ramp_length(config) / STEPS.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: Condition = Condition {
        well: true,
        proven: true,
        shared: false,
        worse: false,
        capacity: 100,
        forced: false,
    };
    const DOWN: Condition = Condition {
        well: false,
        proven: false,
        ..WELL
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::after_start(Duration::from_secs(seconds))
    }

    /// Looks once a second from `from` to `to`, and gives each share with when it began.
    fn shares(failback: &mut Failback, is: Condition, from: u64, to: u64) -> Vec<(u64, u8)> {
        let mut shares = Vec::new();
        for second in from..=to {
            let config = FailbackConfig::default();
            if failback.advance(is, &config, at(second)).is_some() {
                shares.push((second, failback.stage().share()));
            }
        }
        shares
    }

    fn fallen_at(second: u64) -> Failback {
        let mut failback = Failback::default();
        shares(&mut failback, WELL, 0, second - 1);
        shares(&mut failback, DOWN, second, second);
        // It has been down for long.
        failback.fell_at = at(second) - Duration::from_secs(1000);
        failback
    }

    #[test]
    fn a_short_absence_follows_a_short_fault() {
        let mut failback = Failback::default();
        shares(&mut failback, WELL, 0, 9);
        shares(&mut failback, DOWN, 10, 14);
        let steps = shares(&mut failback, WELL, 14, 100);
        let expected = [(14, 0), (18, 5), (20, 10), (22, 25), (24, 50), (26, 100)];
        assert_eq!(steps, expected, "down for 4 s");
        shares(&mut failback, DOWN, 101, 101);
        let steps = shares(&mut failback, WELL, 102, 400);
        assert_eq!(
            steps[1].0 - steps[0].0,
            120,
            "it flaps: twice what is written"
        );
    }

    #[test]
    fn a_ramp_goes_back_while_the_region_does_worse_for_long() {
        let mut failback = fallen_at(10);
        shares(&mut failback, WELL, 20, 240);
        assert_eq!(failback.stage().share(), 25);
        let worse = Condition {
            worse: true,
            ..WELL
        };
        let steps = shares(&mut failback, worse, 241, 600);
        assert_eq!(steps, [(326, 10), (401, 5)]);
    }

    #[test]
    fn a_region_that_never_served_is_full_at_once() {
        let mut failback = Failback::default();
        shares(&mut failback, DOWN, 0, 10);
        assert_eq!(shares(&mut failback, WELL, 11, 12), [(11, 100)]);
    }

    #[test]
    fn traffic_returns_by_hold_down_and_ramp() {
        let mut failback = fallen_at(10);
        let steps = shares(&mut failback, WELL, 20, 500);
        let expected = [
            (20, 0),
            (80, 5),
            (155, 10),
            (230, 25),
            (305, 50),
            (380, 100),
        ];
        assert_eq!(steps, expected);
    }

    #[test]
    fn the_ramp_stands_still_while_the_region_does_worse() {
        let mut failback = fallen_at(10);
        shares(&mut failback, WELL, 20, 100);
        let worse = Condition {
            worse: true,
            ..WELL
        };
        assert_eq!(shares(&mut failback, worse, 101, 170), []);
        assert_eq!(shares(&mut failback, WELL, 171, 260), [(225, 10)]);
    }

    #[test]
    fn the_ramp_takes_no_more_than_its_endpoints_can_carry() {
        let mut failback = fallen_at(10);
        let third = Condition {
            capacity: 33,
            ..WELL
        };
        let steps = shares(&mut failback, third, 20, 900);
        assert_eq!(steps, [(20, 0), (80, 5), (155, 10), (230, 25), (305, 33)]);
        assert_eq!(shares(&mut failback, WELL, 901, 930), [(901, 50)]);
        assert_eq!(shares(&mut failback, third, 931, 940), [(931, 33)]);
        assert_eq!(
            shares(&mut failback, WELL, 941, 1100),
            [(941, 50), (985, 100)]
        );
    }

    #[test]
    fn the_hold_down_doubles_for_a_region_that_keeps_falling_and_is_bounded() {
        let mut failback = fallen_at(10);
        let mut second = 20;
        for doubling in [1, 2, 4, 8, 16, 16] {
            let hold_down = doubling * 60;
            let steps = shares(&mut failback, WELL, second, second + hold_down);
            assert_eq!(steps, [(second, 0), (second + hold_down, 5)]);
            second += hold_down + 1;
            shares(&mut failback, DOWN, second, second);
            second += 1;
        }
    }

    #[test]
    fn falling_before_any_traffic_came_back_only_begins_the_hold_down_anew() {
        let mut failback = fallen_at(10);
        for second in (20..60).step_by(2) {
            shares(&mut failback, WELL, second, second);
            shares(&mut failback, DOWN, second + 1, second + 1);
        }
        assert_eq!(shares(&mut failback, WELL, 100, 200)[1], (160, 5));
    }

    #[test]
    fn what_fell_with_all_others_returns_at_once() {
        let mut failback = fallen_at(10);
        let shared = Condition {
            shared: true,
            ..DOWN
        };
        shares(&mut failback, shared, 11, 40);
        assert_eq!(shares(&mut failback, WELL, 50, 51), [(50, 100)]);
    }

    #[test]
    fn confirm_waits_for_the_operator() {
        let config = FailbackConfig {
            mode: FailbackMode::Confirm,
            ..FailbackConfig::default()
        };
        let mut failback = fallen_at(10);
        for second in 20..2000 {
            failback.advance(WELL, &config, at(second));
        }
        assert_eq!(failback.stage(), Stage::AwaitingConfirm);
        assert!(failback.confirm(&config, at(2000)));
        assert_eq!(failback.stage().share(), 5);
    }

    #[test]
    fn by_hand_nothing_returns_by_itself_and_no_hold_down_is_needed() {
        let config = FailbackConfig {
            mode: FailbackMode::Manual,
            ..FailbackConfig::default()
        };
        let mut failback = fallen_at(10);
        for second in 20..100_000 {
            failback.advance(WELL, &config, at(second));
            assert_eq!(failback.stage(), Stage::AwaitingConfirm);
        }
        assert!(failback.confirm(&config, at(100_000)));
        failback.advance(WELL, &config, at(100_001));
        assert_eq!(failback.stage().share(), 5);
    }

    #[test]
    fn falling_again_takes_an_agreement_back() {
        let config = FailbackConfig {
            mode: FailbackMode::Manual,
            ..FailbackConfig::default()
        };
        let mut failback = fallen_at(10);
        failback.advance(WELL, &config, at(20));
        assert!(failback.confirm(&config, at(21)));
        failback.advance(DOWN, &config, at(22));
        assert!(!failback.confirm(&config, at(23)), "it is down");
        for second in 24..2000 {
            failback.advance(WELL, &config, at(second));
            assert_eq!(failback.stage(), Stage::AwaitingConfirm);
        }
    }

    #[test]
    fn an_agreement_cuts_the_hold_down_short_and_means_nothing_to_what_does_not_wait() {
        let config = FailbackConfig::default();
        let mut failback = fallen_at(10);
        assert!(!failback.confirm(&config, at(15)), "it is down");
        shares(&mut failback, WELL, 20, 25);
        assert!(failback.confirm(&config, at(26)));
        assert_eq!(failback.stage().share(), 5);
        assert!(!failback.confirm(&config, at(27)), "it is on its way");
        assert_eq!(shares(&mut failback, WELL, 27, 102), [(101, 10)]);
        assert!(!Failback::default().confirm(&config, at(1)), "it is full");
    }

    #[test]
    fn without_a_ramp_an_agreement_brings_everyone_back() {
        let config = FailbackConfig {
            mode: FailbackMode::Manual,
            ramp: Duration::ZERO,
            ..FailbackConfig::default()
        };
        let mut failback = fallen_at(10);
        failback.advance(WELL, &config, at(20));
        assert!(failback.confirm(&config, at(21)));
        assert_eq!(failback.stage(), Stage::Full);
    }
}
