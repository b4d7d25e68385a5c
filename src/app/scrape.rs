//! Metrics that belong to what is published: they end with it, so they are read when someone asks.

use std::time::SystemTime;

use crate::board::Live;
use crate::resources::tls::certificate_facts;
use crate::telemetry::metrics::{Exposition, families};

/// Adds what `live` was built from to a page.
pub(super) fn add(page: &mut Exposition, live: &Live) {
    if let Some(database) = live.resources.geo.info().database {
        let built = database.built.as_secs_f64();
        page.gauge(&families::GEO_DATABASE_BUILT, &[], built);
    }
    for listener in &live.resources.config.listeners {
        let facts = listener
            .tls
            .as_ref()
            .and_then(|tls| certificate_facts(tls).ok());
        for fact in facts.unwrap_or_default() {
            let name = fact.names.first().map_or("", String::as_str);
            let ends = fact.not_after.duration_since(SystemTime::UNIX_EPOCH);
            let ends = ends.unwrap_or_default().as_secs_f64();
            page.gauge(&families::CERTIFICATE_EXPIRY, &[name], ends);
        }
    }
}
