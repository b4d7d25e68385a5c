//! Which regions are out because of their health, and which keep their traffic all the same.

use std::time::Duration;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_state::RegionState;
use crate::change::{ChangeCause, Changes, Subject, What};
use crate::decide::snapshot::EndpointState;
use crate::health::availability::Availability;
use crate::health::failback::Stage;
use crate::health::rise_fall::{EjectedBy, Health};
use crate::model::id::RegionId;
use crate::model::outcome::ProbeOutcome;
use crate::model::time::Timestamp;

/// Probes alone may take out one region in so long: what fails them one after the other is more
/// likely on our side. What requests prove is not limited.
const EJECTION_GAP: Duration = Duration::from_secs(60);

/// Regions that all fall within this time fail together: two default probe intervals and the
/// probes that confirm, so that probes alone can tell.
const CORRELATED_WITHIN: Duration = Duration::from_secs(15);

/// For so long after that none of them is out because of its probes alone: they come back one after
/// the other, and each move costs viewers more than the per-request failover does.
const GRACE: Duration = Duration::from_secs(30);

/// A region that keeps its traffic for so long though its probes fail is worth a line. Others are
/// asked within that time.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// Brings each region's availability and the correlated failure up to date with its health.
pub(super) fn settle(beliefs: &mut Beliefs, changes: &mut Changes) {
    let now = changes.now;
    let mut asks = false;
    for index in 0..beliefs.regions.len() {
        let region = &beliefs.regions[index];
        let before = region.availability;
        let since = before.down_since().unwrap_or(now);
        let was_told = matches!(before, Availability::Suppressed { told: true, .. });
        let after = if region.health != Health::Unhealthy {
            Availability::Up
        } else if goes_at_once(region) {
            Availability::Out { since }
        } else if probes_may_eject(beliefs, index, now) {
            beliefs.last_ejection = Some(now);
            if was_told {
                // Nothing else says that it goes: its health is what it was.
                let name = &beliefs.table.region(RegionId::at(index)).name;
                let what = What::Failback(Stage::Down);
                changes.tell_region(name, what, ChangeCause::SuppressionEnded);
            }
            Availability::Out { since }
        } else {
            asks |= before == Availability::Up;
            let told = was_told;
            Availability::Suppressed { since, told }
        };
        beliefs.regions[index].availability = after;
    }
    if asks {
        ask_the_others(beliefs, now);
    }
    note_correlated_failure(beliefs, changes);
    tell_suppressed(beliefs, changes);
}

/// Whether an unhealthy region is out whatever the others are like: it is already, or requests
/// proved it.
fn goes_at_once(region: &RegionState) -> bool {
    let by_traffic = |one: &EndpointState| one.standing.ejected_by() == Some(EjectedBy::Traffic);
    // One that never served took nothing out of anyone's way.
    let served = region.failback.iter().any(|way| way.has_served());
    region.availability.is_out() || !served || region.endpoints.iter().any(by_traffic)
}

/// Whether its probes alone may take an unhealthy region out now.
fn probes_may_eject(beliefs: &Beliefs, index: usize, now: Timestamp) -> bool {
    let within = |moment: Option<Timestamp>, span| moment.is_some_and(|at| now.since(at) < span);
    if within(beliefs.last_ejection, EJECTION_GAP) || within(beliefs.fell_together, GRACE) {
        return false;
    }
    let endpoints = beliefs.regions[index].endpoints.iter();
    let contradicted = endpoints.map(|one| one.standing.contradicted_since());
    let since = contradicted.min().unwrap_or_default();
    let mut others = beliefs.regions.iter().enumerate();
    others.any(|(other, state)| other != index && is_surely_well(state, since))
}

/// Whether one of its endpoints passed a probe after `since`, and nothing speaks against it.
fn is_surely_well(region: &RegionState, since: Timestamp) -> bool {
    let mut endpoints = region.endpoints.iter();
    endpoints.any(|one| passed_since(one, since))
}

/// Whether an endpoint passed a probe after `since`, and nothing speaks against it.
pub(super) fn passed_since(endpoint: &EndpointState, since: Timestamp) -> bool {
    let probed = endpoint.probed.as_ref();
    let fresh = probed.is_some_and(|(at, outcome)| {
        *at >= since && matches!(outcome, ProbeOutcome::Passed { .. })
    });
    endpoint.health == Health::Healthy && endpoint.standing.streak() == 0 && fresh
}

/// Has those that seem to be well probed at once: whether a region may go depends on them.
pub(super) fn ask_the_others(beliefs: &mut Beliefs, now: Timestamp) {
    for region in &mut beliefs.regions {
        if region.health == Health::Healthy {
            let mut endpoints = region.endpoints.to_vec();
            for endpoint in &mut endpoints {
                endpoint.standing.suspect(now);
            }
            region.endpoints = endpoints.into();
        }
    }
}

/// If no region is well and all of them fell at about the same time, none is out. It lasts until
/// one is well again.
fn note_correlated_failure(beliefs: &mut Beliefs, changes: &mut Changes) {
    let shared = is_correlated(&beliefs.regions, beliefs.correlated_failure);
    if shared != beliefs.correlated_failure {
        beliefs.correlated_failure = shared;
        let cause = match shared {
            true => ChangeCause::FellTogether,
            false => ChangeCause::WellAgain,
        };
        changes.tell(
            Subject::Fleet,
            What::CorrelatedFailure { began: shared },
            cause,
        );
    }
    if shared {
        beliefs.fell_together = Some(changes.now);
        for region in &mut beliefs.regions {
            if let Availability::Out { since } = region.availability {
                region.availability = Availability::Suppressed { since, told: false };
            }
        }
    }
}

fn is_correlated(regions: &[RegionState], lasts: bool) -> bool {
    let known = || regions.iter().filter(|region| !region.endpoints.is_empty());
    let first = known()
        .filter_map(|region| region.availability.down_since())
        .min();
    let last = known()
        .filter_map(|region| region.availability.down_since())
        .max();
    known().count() > 1
        && known().all(|region| region.availability.down_since().is_some())
        && first
            .zip(last)
            .is_some_and(|(first, last)| lasts || last.since(first) <= CORRELATED_WITHIN)
}

fn tell_suppressed(beliefs: &mut Beliefs, changes: &mut Changes) {
    if beliefs.correlated_failure {
        return;
    }
    let definitions = &beliefs.table.regions;
    for (definition, region) in definitions.iter().zip(&mut beliefs.regions) {
        if let Availability::Suppressed { since, told } = &mut region.availability
            && !*told
            && changes.now.since(*since) >= WORTH_TELLING
        {
            *told = true;
            let cause = ChangeCause::Suppressed;
            changes.tell_region(&definition.name, What::EjectionSuppressed, cause);
        }
    }
}
