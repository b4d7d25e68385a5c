//! Where most of the traffic went, one region after the other.

use std::time::Duration;

use crate::viewer::{Kind, Sample};

/// Traffic is counted as moved by who served more than two thirds of such a span: on a ramp, half and
/// half is no move in either direction.
const WINDOW: Duration = Duration::from_millis(250);

/// The regions that most of the traffic moved to during `length`. It began at the preferred one,
/// or, where it `has_choice`, anywhere.
pub(crate) fn moves<'a>(
    samples: impl Iterator<Item = &'a Sample>,
    length: Duration,
    has_choice: bool,
) -> Vec<usize> {
    let windows = length.as_millis().div_ceil(WINDOW.as_millis());
    let mut served = vec![[0_usize; 3]; usize::try_from(windows).unwrap_or_default()];
    for sample in samples.filter(|one| one.kind != Kind::Burst) {
        let window = usize::try_from(sample.due.as_millis() / WINDOW.as_millis());
        let window = window.ok().and_then(|at| served.get_mut(at));
        if let (Some(window), Some(region)) = (window, sample.region) {
            window[region] += 1;
        }
    }
    let mut moves = Vec::new();
    let mut current = if has_choice { None } else { Some(0) };
    for window in served {
        let most = (0..3).find(|region| window[*region] * 3 > window.iter().sum::<usize>() * 2);
        if let Some(region) = most.filter(|region| current != Some(*region)) {
            if current.is_some() {
                moves.push(region);
            }
            current = Some(region);
        }
    }
    moves
}
