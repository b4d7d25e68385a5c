//! What probes, traffic and the operator say.

use std::sync::Arc;
use std::time::Duration;

use crate::apply::beliefs::Beliefs;
use crate::apply::region_ejection::ask_the_others;
use crate::change::{ChangeCause, Changes, Subject, What};
use crate::decide::snapshot::{AdminState, EndpointState};
use crate::health::rise_fall::{Flip, Limits};
use crate::model::id::{EndpointId, RegionId};
use crate::model::outcome::{ErrorKind, ProbeOutcome};
use crate::model::time::Timestamp;

/// For so long after requests came far later than usual a probe that does is believed by itself: the
/// probes that were called for have come back by then.
const SLOWED_LINGERS: Duration = Duration::from_secs(10);

/// Takes in one probe's outcome. Gives the event in words, or `None` if it changes nothing.
pub(super) fn probed(
    beliefs: &mut Beliefs,
    id: EndpointId,
    outcome: ProbeOutcome,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let (region, place) = locate(beliefs, id)?;
    let definition = beliefs.table.regions.get(region.index())?;
    let limits = Limits {
        rise: definition.probe.rise,
        fall: definition.probe.fall,
        probation: beliefs.table.traffic.probation,
    };
    let mut endpoints = beliefs.regions[region.index()].endpoints.to_vec();
    let endpoint = &mut endpoints[place];
    if let ProbeOutcome::Passed { phases, warm } = &outcome {
        endpoint.latency.observe(*phases, *warm, changes.now);
        let slowed = beliefs.slowed;
        let slowed = slowed.is_some_and(|at| changes.now.since(at) < SLOWED_LINGERS);
        if slowed && endpoint.latency.has_turned() {
            endpoint.latency.start_anew();
        }
    }
    let passed = matches!(outcome, ProbeOutcome::Passed { .. });
    let flip = endpoint.standing.observe(passed, limits, changes.now);
    let in_a_row = flip.map_or(1, |flip| flip.in_a_row);
    let cause = match &outcome {
        ProbeOutcome::Passed { .. } => ChangeCause::ProbePassed { in_a_row },
        ProbeOutcome::Failed(failure) => ChangeCause::ProbeFailed {
            in_a_row,
            failure: failure.clone(),
        },
    };
    endpoint.probed = Some((changes.now, outcome));
    settle(endpoint, flip, &definition.name, &cause, changes);
    beliefs.regions[region.index()].endpoints = endpoints.into();
    Some(cause)
}

/// Takes in that `in_a_row` requests failed at an endpoint.
pub(super) fn traffic_failed(
    beliefs: &mut Beliefs,
    id: EndpointId,
    kind: ErrorKind,
    in_a_row: u32,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    // These say nothing about the endpoint.
    let says_nothing = matches!(kind, ErrorKind::ViewerBody | ErrorKind::NoEndpoint);
    if says_nothing || beliefs.correlated_failure_lately(changes.now) {
        return None;
    }
    let (region, place) = locate(beliefs, id)?;
    let definition = beliefs.table.regions.get(region.index())?;
    let mut endpoints = beliefs.regions[region.index()].endpoints.to_vec();
    let endpoint = &mut endpoints[place];
    let flip = endpoint.standing.traffic_failed(in_a_row);
    let cause = ChangeCause::RequestsFailed {
        in_a_row,
        error: kind,
    };
    settle(endpoint, flip, &definition.name, &cause, changes);
    beliefs.regions[region.index()].endpoints = endpoints.into();
    Some(cause)
}

/// Takes in that an endpoint should be probed at once.
pub(super) fn suspected(
    beliefs: &mut Beliefs,
    id: EndpointId,
    now: Timestamp,
) -> Option<ChangeCause> {
    let (region, place) = locate(beliefs, id)?;
    let mut endpoints = beliefs.regions[region.index()].endpoints.to_vec();
    let news = endpoints[place].standing.suspect(now);
    beliefs.regions[region.index()].endpoints = endpoints.into();
    if news {
        // What it proves depends on how the others are.
        ask_the_others(beliefs, now);
    }
    news.then_some(ChangeCause::Suspicion)
}

/// Takes in how a probation request was answered.
pub(super) fn probation_answered(
    beliefs: &mut Beliefs,
    id: EndpointId,
    good: bool,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let (region, place) = locate(beliefs, id)?;
    let name = Arc::clone(&beliefs.table.region(region).name);
    let policy = beliefs.table.traffic.probation;
    let mut endpoints = beliefs.regions[region.index()].endpoints.to_vec();
    let endpoint = &mut endpoints[place];
    if !endpoint.standing.is_on_probation() {
        return None;
    }
    let flip = endpoint
        .standing
        .probation_answered(good, &policy, changes.now);
    let cause = match flip {
        Some(Flip { in_a_row, .. }) => ChangeCause::ProbationPassed { in_a_row },
        None => ChangeCause::ProbationRequest,
    };
    let is_news = flip.is_some() || !good;
    settle(endpoint, flip, &name, &cause, changes);
    beliefs.regions[region.index()].endpoints = endpoints.into();
    is_news.then_some(cause)
}

/// Takes in the operator's word on a region.
pub(super) fn operator(
    beliefs: &mut Beliefs,
    name: &str,
    state: AdminState,
    changes: &mut Changes,
) -> Option<ChangeCause> {
    let region = beliefs.table.region_named(name)?;
    let believed = beliefs.regions.get_mut(region.index())?;
    if believed.admin == state {
        return None;
    }
    believed.admin = state;
    let cause = ChangeCause::Operator { state };
    let name = &beliefs.table.region(region).name;
    changes.tell_region(name, What::Operator { state }, cause.clone());
    Some(cause)
}

/// The region of an endpoint, and its place there.
pub(super) fn locate(beliefs: &Beliefs, id: EndpointId) -> Option<(RegionId, usize)> {
    let mut regions = beliefs.regions.iter().enumerate();
    regions.find_map(|(index, region)| {
        let place = region
            .endpoints
            .iter()
            .position(|endpoint| endpoint.id == id)?;
        Some((RegionId::at(index), place))
    })
}

/// Takes over what `flip` says into the endpoint, and tells it.
pub(super) fn settle(
    endpoint: &mut EndpointState,
    flip: Option<Flip>,
    region: &Arc<str>,
    cause: &ChangeCause,
    changes: &mut Changes,
) {
    endpoint.health = endpoint.standing.health();
    if let Some(Flip { from, to, .. }) = flip {
        let subject = Subject::Endpoint {
            region: Arc::clone(region),
            address: endpoint.address,
        };
        changes.tell(subject, What::Health { from, to }, cause.clone());
    }
}
