//! `[probe]`: what to ask every endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::context::CheckContext;
use crate::config::default::with_defaults;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::{Lasting, Plain, StatusRange, Whole};
use crate::config::value;
use crate::table::origin::ProbeSpec;

/// A probe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = with_defaults::<ProbeSpec>)]
pub(super) struct ProbeSection {
    /// Path and query of the GET.
    path: Field<String>,
    /// The `Host` of the probe. Absent: the origin URL's.
    host: Field<String>,
    /// Time between probes of one endpoint; each gap varies by 20 % either way.
    interval: Field<Lasting<100>>,
    /// The same while the endpoint's state is changing; at most `interval`.
    fast_interval: Field<Lasting<100>>,
    /// For one whole probe.
    timeout: Field<Lasting<1>>,
    /// Status codes that pass.
    status: Field<StatusRange>,
    /// Text the body must contain.
    text: Field<String>,
    /// JSON fields of the body and the value each must have: `{ status = "healthy", "checks.*" =
    /// "ok" }`; a `*` step stands for every member.
    #[schemars(extend("x-key" = "dotted path"))]
    json: Field<BTreeMap<String, Field<Plain>>>,
    /// The JSON field, by dotted path, that must name this region: an answer of another region
    /// fails. Absent: not checked.
    region_field: Field<String>,
    /// Failures in a row until unhealthy.
    fall: Field<Whole<1, 100>>,
    /// Successes in a row until healthy.
    rise: Field<Whole<1, 100>>,
}

impl ProbeSection {
    /// What is written here, the rest as in `before`.
    pub(super) fn check(
        &self,
        span: Span,
        before: ProbeSpec,
        context: &CheckContext<'_>,
    ) -> ProbeSpec {
        if let Some((path, span)) = self.path.written()
            && !value::is_path(path)
        {
            let message = format!("`{path}` is not a path");
            let help = "a path begins with `/` and has no spaces: \"/health\"";
            context.error("bad-path", span, message, help);
        }
        if let Some((name, span)) = self.host.written() {
            context.authority(name, span);
        }
        let interval = self.interval.or(before.interval);
        let spec = ProbeSpec {
            path: self.path.or(before.path),
            host: self.host.get().cloned().or(before.host),
            interval,
            // A shorter interval draws the default of the faster one with it.
            fast_interval: self.fast_interval.or(before.fast_interval.min(interval)),
            timeout: self.timeout.or(before.timeout),
            status: self.status.or(before.status),
            text: self.text.get().cloned().or(before.text),
            json: if self.json.is_written() {
                let entries = self.json.entries();
                entries
                    .filter_map(|(name, _, value)| {
                        Some((name.to_owned(), value.get()?.clone().into()))
                    })
                    .collect()
            } else {
                before.json
            },
            region_field: self.region_field.get().cloned().or(before.region_field),
            fall: self.fall.or(before.fall),
            rise: self.rise.or(before.rise),
        };
        if spec.fast_interval > spec.interval {
            let message = format!(
                "`fast_interval` ({:?}) is longer than `interval` ({:?})",
                spec.fast_interval, spec.interval
            );
            let help = "it is the time between probes while a state is changing";
            let place = self.fast_interval.place(span);
            context.error("bad-order", place, message, help);
        }
        spec
    }
}
