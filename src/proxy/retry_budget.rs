//! Where the retry budget is charged and given back.

use std::cell::RefCell;
use std::rc::Rc;

use crate::proxy::attempt_target::AttemptKind;
use meridian_core::config::LimitsConfig;
use meridian_core::decide::Decision;
use meridian_core::decide::failover::{
    Attempts, GiveUp, NextAttempt, RetryFacts, hedge, is_charged, next,
};
use meridian_core::decide::retry_budget::Budget;
use meridian_core::model::id::RegionId;
use meridian_core::model::time::Timestamp;
use meridian_core::table::residency::PermittedRegion;

/// One worker's budget of retries and hedges, by region.
#[derive(Clone, Debug)]
pub(super) struct RetryBudget(Rc<RefCell<Budget>>);

/// What an attempt is charged; given back when this is dropped, also when the viewer leaves.
#[derive(Debug)]
pub(super) struct RetryCharge {
    budget: RetryBudget,
    region: PermittedRegion,
}

/// The next attempt of a request.
#[derive(Debug)]
pub(super) struct RetryStep {
    /// Where it goes.
    pub(super) region: PermittedRegion,
    /// Whether over a fresh connection.
    pub(super) kind: AttemptKind,
    /// What it is charged, if anything.
    pub(super) charge: Option<RetryCharge>,
}

impl RetryBudget {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        let budget = Budget::new(limits.retry_budget, limits.retry_budget_minimum);
        Self(Rc::new(RefCell::new(budget)))
    }

    /// From now on allows this share and this minimum.
    pub(super) fn follow_limits(&self, limits: &LimitsConfig) {
        self.0
            .borrow_mut()
            .follow_limits(limits.retry_budget, limits.retry_budget_minimum);
    }

    /// Counts a request that a viewer made.
    pub(super) fn request_seen(&self, now: Timestamp) {
        self.0.borrow_mut().request_seen(now);
    }

    /// The next attempt after `attempts`, which failed.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn next(
        &self,
        decision: &Decision,
        attempts: &Attempts,
        facts: &RetryFacts<'_>,
        now: Timestamp,
    ) -> Result<RetryStep, GiveUp> {
        let next = next(decision, attempts, facts, &mut self.0.borrow_mut(), now);
        let (region, kind) = match next {
            NextAttempt::Try(region) => (region, AttemptKind::InTurn),
            NextAttempt::Again(region) => (region, AttemptKind::OnFreshConnection),
            NextAttempt::GiveUp(reason) => return Err(reason),
        };
        Ok(RetryStep {
            region,
            kind,
            charge: is_charged(attempts).then(|| self.charge(region)),
        })
    }

    /// Where a second attempt goes beside the one at `current`, which is late.
    pub(super) fn hedge(
        &self,
        decision: &Decision,
        attempts: &Attempts,
        current: RegionId,
        facts: &RetryFacts<'_>,
        now: Timestamp,
    ) -> Option<RetryCharge> {
        let budget = &mut *self.0.borrow_mut();
        let region = hedge(decision, attempts, current, facts, budget, now)?;
        Some(self.charge(region))
    }

    fn charge(&self, region: PermittedRegion) -> RetryCharge {
        RetryCharge {
            budget: self.clone(),
            region,
        }
    }
}

impl RetryCharge {
    /// Where the attempt goes.
    pub(super) fn region(&self) -> PermittedRegion {
        self.region
    }
}

impl Drop for RetryCharge {
    fn drop(&mut self) {
        self.budget.0.borrow_mut().refund(self.region.id());
    }
}
