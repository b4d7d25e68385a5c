//! What a request costs, from several windows.

use std::collections::BTreeMap;

use crate::profile::Profile;

/// The windows of a row, per request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Vec<PerRequest>);

#[derive(Clone, Debug)]
struct PerRequest {
    instructions: f64,
    allocations: f64,
    allocating: BTreeMap<String, f64>,
}

impl Count {
    /// Adds a window of so many requests.
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn add(&mut self, profile: Profile, requests: usize) {
        let requests = requests as f64;
        let allocations = profile.allocated() as f64 / requests;
        let allocating = profile.allocations.into_iter();
        self.0.push(PerRequest {
            instructions: profile.instructions as f64 / requests,
            allocations,
            allocating: allocating
                .map(|(function, calls)| (function, calls as f64 / requests))
                .collect(),
        });
    }

    /// How many windows there are.
    pub(crate) fn windows(&self) -> usize {
        self.0.len()
    }

    /// Instructions per request. What disturbs a window only ever adds to it, so the least is the
    /// truest.
    pub(crate) fn instructions(&self) -> f64 {
        self.least(|window| window.instructions)
    }

    /// Allocations per request.
    pub(crate) fn allocations(&self) -> f64 {
        self.least(|window| window.allocations)
    }

    /// How far apart the windows' instructions are, in per cent.
    pub(crate) fn spread(&self) -> f64 {
        let most = self.0.iter().map(|window| window.instructions);
        (most.fold(0.0, f64::max) / self.instructions() - 1.0) * 100.0
    }

    /// The functions that allocate, and how often per request, the busiest first.
    pub(crate) fn allocating(&self) -> Vec<(&str, f64)> {
        let functions = self.0.first().into_iter().flat_map(|one| &one.allocating);
        let mut functions: Vec<_> = functions
            .map(|(function, calls)| (function.as_str(), *calls))
            .collect();
        functions.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        functions
    }

    fn least(&self, of: impl Fn(&PerRequest) -> f64) -> f64 {
        self.0.iter().map(of).fold(f64::INFINITY, f64::min)
    }
}
