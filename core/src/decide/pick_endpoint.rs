//! Which endpoint within a region: of two random ones, the one with fewer requests under way.

use crate::decide::snapshot::EndpointState;
use crate::model::id::EndpointId;

/// Chooses among `endpoints`: of the healthiest ones that are there, two at random, and of those
/// the one with fewer requests under way. The one to `avoid`, which failed the request before, is
/// taken only when there is no other. `random` gives a number below the one it is given, which is
/// never zero.
#[must_use]
pub fn pick_endpoint(
    endpoints: &[EndpointState],
    avoid: Option<EndpointId>,
    outstanding: impl Fn(EndpointId) -> u32,
    mut random: impl FnMut(usize) -> usize,
) -> Option<&EndpointState> {
    if let [only] = endpoints {
        return Some(only);
    }
    let rank = |one: &EndpointState| (avoid == Some(one.id), one.health);
    let best = endpoints.iter().map(rank).min()?;
    let fit = |one: &&EndpointState| rank(one) == best;
    let count = endpoints.iter().filter(fit).count();
    if count == 0 {
        return None;
    }
    let nth = |position: usize| endpoints.iter().filter(fit).nth(position);
    let first = nth(random(count))?;
    if count == 1 {
        return Some(first);
    }
    let second = nth(random(count))?;
    if outstanding(second.id) < outstanding(first.id) {
        Some(second)
    } else {
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::rise_fall::Health;

    fn endpoint(slot: u32, health: Health) -> EndpointState {
        let id = EndpointId {
            slot,
            generation: 0,
        };
        EndpointState {
            health,
            ..EndpointState::new(id, ([127, 0, 0, 1], 80).into(), 0)
        }
    }

    #[test]
    fn the_one_with_fewer_requests_under_way_is_taken() {
        let all = [endpoint(0, Health::Healthy), endpoint(1, Health::Healthy)];
        let mut order = [0, 1].into_iter();
        let busy = |id: EndpointId| if id.slot == 0 { 5 } else { 1 };
        let taken = pick_endpoint(&all, None, busy, |_| order.next().unwrap()).unwrap();
        assert_eq!(taken.id.slot, 1);
    }

    #[test]
    fn an_unhealthy_endpoint_is_taken_only_when_no_other_is_there() {
        let all = [endpoint(0, Health::Unhealthy), endpoint(1, Health::Healthy)];
        assert_eq!(pick_endpoint(&all, None, |_| 0, |_| 0).unwrap().id.slot, 1);
        assert_eq!(
            pick_endpoint(&all[..1], None, |_| 0, |_| 0)
                .unwrap()
                .id
                .slot,
            0
        );
        assert!(pick_endpoint(&[], None, |_| 0, |_| 0).is_none());
    }

    #[test]
    fn the_one_that_failed_the_request_before_is_taken_only_when_no_other_is_there() {
        let all = [endpoint(0, Health::Healthy), endpoint(1, Health::Unhealthy)];
        let avoid = Some(all[0].id);
        assert_eq!(pick_endpoint(&all, avoid, |_| 0, |_| 0).unwrap().id.slot, 1);
        assert_eq!(
            pick_endpoint(&all[..1], avoid, |_| 0, |_| 0)
                .unwrap()
                .id
                .slot,
            0
        );
    }
}
