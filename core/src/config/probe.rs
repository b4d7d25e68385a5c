//! `[probe]`: what to ask every endpoint.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::context::CheckContext;
use crate::config::default::documented;
use crate::config::field::Field;
use crate::config::problem::Span;
use crate::config::quantity::{Integer, Plain, StatusRange, TimeSpan};
use crate::config::value;
use crate::table::origin::ProbeSpec;

/// A probe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, transform = documented::<ProbeSpec>)]
pub(super) struct ProbeSection {
    path: Field<String>,
    host: Field<String>,
    interval: Field<TimeSpan<100>>,
    fast_interval: Field<TimeSpan<100>>,
    timeout: Field<TimeSpan<1>>,
    status: Field<StatusRange>,
    text: Field<String>,
    #[schemars(extend("x-key" = "dotted path"))]
    json: Field<BTreeMap<String, Field<Plain>>>,
    region_field: Field<String>,
    fall: Field<Integer<1, 100>>,
    rise: Field<Integer<1, 100>>,
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
