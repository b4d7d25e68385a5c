//! What one number per request does not tell: studies, each with a table of its own.

mod cores;
pub(crate) mod findings;
mod idle;
mod latency;
mod reload;
mod rounds;

pub(crate) use self::idle::look as look_idle;

use self::findings::Findings;
use crate::ground::Ground;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::study::Study;

/// Takes all measurements of a study.
pub(crate) fn run(study: Study, proxies: &[Proxy], options: &Options, ground: &Ground) -> Findings {
    match study {
        Study::Idle => idle::run(proxies, options, ground),
        Study::Latency => latency::run(proxies, options, ground),
        Study::Cores => cores::run(proxies, options, ground),
        Study::Reload => reload::run(proxies, options, ground),
    }
}
