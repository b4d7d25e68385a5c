//! Live, ready, started: what orchestrators and load balancers ask.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;

use crate::admin::reply::{self, Reply};
use meridian_core::apply::{Beliefs, RegionState};
use meridian_core::health::rise_fall::Health;
use meridian_core::model::time::Timestamp;

/// Startup ends at the latest this long after the process began, however few endpoints have
/// been probed: an origin that never answers must not keep the proxy from ever starting.
const STARTUP_LIMIT: Duration = Duration::from_secs(10);

/// What the parts of the process say of themselves.
#[derive(Debug, Default)]
pub struct Flags {
    /// Set when the process begins to leave.
    pub draining: AtomicBool,
    /// Set when every listener is bound.
    pub listening: AtomicBool,
}

/// One condition and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it does.
    pub passed: bool,
}

impl Check {
    fn new(name: impl Into<String>, passed: bool) -> Self {
        Self {
            name: name.into(),
            passed,
        }
    }
}

/// Ready: a table serves, listeners are bound, every route has a region that can serve, and the
/// process is not leaving.
#[must_use]
pub fn ready(flags: &Flags, beliefs: &Beliefs) -> Vec<Check> {
    let mut checks = vec![
        Check::new("config loaded", beliefs.generation > 0),
        Check::new("listeners bound", flags.listening.load(Ordering::Acquire)),
        Check::new("not draining", !flags.draining.load(Ordering::Acquire)),
    ];
    let serving = beliefs.serving();
    checks.extend(beliefs.table.routes.iter().map(|route| {
        let serves = !route.regions.and(serving).is_empty();
        Check::new(format!("route {} has a serving region", route.name), serves)
    }));
    checks
}

/// Started: a table is loaded and every known endpoint was proven well or unwell, or ten
/// seconds have passed since the process began.
#[must_use]
pub fn started(beliefs: &Beliefs, now: Timestamp) -> Vec<Check> {
    let known = |region: &RegionState| {
        !region.endpoints.is_empty()
            && region
                .endpoints
                .iter()
                .all(|endpoint| endpoint.health != Health::Unproven)
    };
    let mut checks = vec![Check::new("config loaded", beliefs.generation > 0)];
    let waited = now.since_start() >= STARTUP_LIMIT;
    let regions = beliefs.table.regions.iter().zip(&beliefs.regions);
    checks.extend(regions.map(|(region, state)| {
        Check::new(
            format!("region {} probed", region.name),
            waited || known(state),
        )
    }));
    checks
}

/// Whether every check passed.
#[must_use]
pub fn all_passed(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.passed)
}

/// 200 if every check passed, else 503; check by check if `verbose`, else the failed ones.
#[must_use]
pub fn answer(name: &str, checks: &[Check], verbose: bool) -> Reply {
    let passed = all_passed(checks);
    let mut body = String::new();
    for check in checks.iter().filter(|check| verbose || !check.passed) {
        let mark = if check.passed { '+' } else { '-' };
        writeln!(body, "[{mark}] {}", check.name).expect("writing to a String cannot fail");
    }
    let (status, verdict) = if passed {
        (StatusCode::OK, "passed")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "failed")
    };
    if verbose || !passed {
        body.push_str(&format!("{name} check {verdict}\n"));
    } else {
        body.push_str("ok\n");
    }
    reply::text(status, "text/plain; charset=utf-8", body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meridian_core::table::origin::{ProbeSpec, Region, UpstreamSpec};
    use meridian_core::table::{RoutingTable, Written};

    #[test]
    fn startup_ends_after_ten_seconds_at_the_latest() {
        let mut beliefs = Beliefs {
            generation: 1,
            ..Beliefs::default()
        };
        let region = Region {
            name: "eu-west-1".into(),
            origins: Vec::new(),
            upstream: UpstreamSpec::default(),
            place: None,
            probe: ProbeSpec::default(),
            written: Written::default(),
        };
        let table = RoutingTable::new(Vec::new(), vec![region], Vec::new());
        beliefs.table = std::sync::Arc::new(table);
        beliefs.regions = vec![RegionState::default()];
        let early = Timestamp::after_start(Duration::from_secs(9));
        assert!(!all_passed(&started(&beliefs, early)));
        let late = Timestamp::after_start(Duration::from_secs(10));
        assert!(all_passed(&started(&beliefs, late)));
    }
}
