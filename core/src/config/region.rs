//! `[region.X]`: a named place and the service as deployed there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::context::CheckContext;
use crate::config::field::Field;
use crate::config::probe::ProbeSection;
use crate::config::problem::{Problem, Span};
use crate::config::quantity::{Degrees, FilePath};
use crate::config::value;
use crate::model::id::MAX_REGIONS;
use crate::model::place::{self, Place};
use crate::table::origin::{HostField, Origin, ProbeSpec, Region, UpstreamHttp, UpstreamSpec};

/// A named place and the service as deployed there.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["origins"]))]
pub(super) struct RegionSection {
    /// The service there, as URLs of scheme, host and port: `"https://api-us.example.com"`. Each
    /// address a name resolves to is an endpoint of its own.
    origins: Field<Vec<Field<String>>>,
    /// The `Host` the origin gets: the viewer's, the origin URL's, or always this one.
    #[schemars(extend(
        "default" = "viewer",
        "examples" = ["viewer", "origin"],
        "x-takes" = "`\"viewer\"`, `\"origin\"` or a host name"
    ))]
    host: Field<String>,
    /// The HTTP version to speak: HTTP/2 is by ALPN over TLS and by prior knowledge without;
    /// `"auto"` takes what the origin picks by ALPN.
    #[schemars(extend("default" = UpstreamHttp::default()))]
    http: Field<UpstreamHttp>,
    /// How to verify `https` origins. Absent: by the system's roots and the URL's host.
    tls: Field<OriginTlsSection>,
    /// Where it stands, for the `geo` policy. Known already for the names of AWS regions.
    location: Field<LocationSection>,
    /// Keys of `[probe]` that differ here.
    probe: Field<ProbeSection>,
}

/// TLS towards the origins of a region.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
struct OriginTlsSection {
    /// PEM file of the authorities to trust instead of the system's.
    ca: Field<FilePath>,
    /// The name to ask for (SNI) and to verify, instead of the URL's host.
    server_name: Field<String>,
    /// PEM file of our own certificate chain, when the origin asks for one.
    cert: Field<FilePath>,
    /// PEM file of its key.
    key: Field<FilePath>,
}

/// A point on the globe.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["lat", "lon"]))]
struct LocationSection {
    /// Degrees north.
    lat: Field<Degrees<90>>,
    /// Degrees east.
    lon: Field<Degrees<180>>,
}

/// All regions, sorted by name.
pub(super) fn check(
    written: &Field<BTreeMap<String, Field<RegionSection>>>,
    probe: &ProbeSpec,
    context: &CheckContext<'_>,
) -> Vec<Region> {
    if written.get().is_none_or(BTreeMap::is_empty) {
        let help = "add one: [region.us-east-1] with origins = [\"https://api-us.example.com\"]";
        context.missing("no-region", "there is no region", help);
    }
    let mut taken: HashMap<Origin, &str> = HashMap::new();
    let mut regions = Vec::new();
    for (name, key, field) in written.entries() {
        let Some((section, span)) = field.written() else {
            continue;
        };
        if regions.len() == MAX_REGIONS {
            let message = format!("there are more than {MAX_REGIONS} regions");
            let help = "a route chooses among regions; zones of one region are its `origins`";
            context.error("too-many-regions", key, message, help);
        }
        if !value::is_name(name) {
            let message = format!("`{name}` cannot name a region");
            let help = "use up to 64 letters, digits, `-`, `_` and `.`";
            context.error("bad-name", key, message, help);
        }
        let own = section.probe.written();
        let location = section.location.written();
        regions.push(Region {
            name: Arc::from(name),
            origins: section.origins(span, name, &mut taken, context),
            upstream: section.upstream(context),
            place: location
                .and_then(|(location, span)| location.check(span, context))
                .or_else(|| place::known_region(name)),
            probe: own.map_or_else(
                || probe.clone(),
                |(own, span)| own.check(span, probe.clone(), context),
            ),
            written: context.sources.written(key),
        });
    }
    regions
}

impl RegionSection {
    fn origins<'a>(
        &'a self,
        span: Span,
        region: &'a str,
        taken: &mut HashMap<Origin, &'a str>,
        context: &CheckContext<'_>,
    ) -> Vec<Origin> {
        let written = self.origins.required("origins", span, context.findings);
        if written.is_empty_list() {
            let message = format!("region `{region}` has no origin");
            let help = "origins = [\"https://api.example.com\"]";
            context.error("empty-origins", written.place(span), message, help);
        }
        let mut origins = Vec::new();
        for (url, span) in written.items() {
            match value::origin(url) {
                Ok(origin) => {
                    if let Some(other) = taken.insert(origin.clone(), region) {
                        // One service under two names would fail and be drained as two regions.
                        let message = format!("`{url}` is an origin of region `{other}` already");
                        let problem = Problem::warning("duplicate-origin", Some(span), message);
                        context.findings.push(problem);
                    }
                    origins.push(origin);
                }
                Err(reason) => {
                    let message = format!("`{url}` is not an origin: {reason}");
                    let help = "write scheme, host and port: \"https://api.example.com:8443\"";
                    context.error("bad-url", span, message, help);
                }
            }
        }
        origins
    }

    fn upstream(&self, context: &CheckContext<'_>) -> UpstreamSpec {
        let host = match self.host.written() {
            None => HostField::Viewer,
            Some((name, span)) => match name.as_str() {
                "viewer" => HostField::Viewer,
                "origin" => HostField::Origin,
                name => {
                    context.authority(name, span);
                    HostField::Fixed(name.to_ascii_lowercase())
                }
            },
        };
        let spec = UpstreamSpec {
            host,
            http: self.http.or(UpstreamHttp::default()),
            ..UpstreamSpec::default()
        };
        self.tls.section(|tls, span| tls.check(span, spec, context))
    }
}

impl OriginTlsSection {
    fn check(&self, span: Span, spec: UpstreamSpec, context: &CheckContext<'_>) -> UpstreamSpec {
        let (cert, key) = (context.path(&self.cert), context.path(&self.key));
        if self.cert.is_written() != self.key.is_written() {
            let message = "a certificate needs both `cert` and `key`";
            let help = "tls = { cert = \"client.crt\", key = \"client.key\" }";
            context.error("bad-tls", span, message, help);
        }
        let server_name = self.server_name.written().map(|(name, span)| {
            if !value::is_authority(name) || name.contains(':') {
                context.fault("bad-host", span, format!("`{name}` is not a host name"));
            }
            name.to_ascii_lowercase()
        });
        UpstreamSpec {
            ca: context.path(&self.ca),
            server_name,
            client_certificate: cert.zip(key),
            ..spec
        }
    }
}

impl LocationSection {
    fn check(&self, span: Span, context: &CheckContext<'_>) -> Option<Place> {
        let latitude = self.lat.required("lat", span, context.findings).get();
        let longitude = self.lon.required("lon", span, context.findings).get();
        Place::at((*latitude?).into(), (*longitude?).into())
    }
}
