//! The whole file: every section, and what they mean together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::access_log::{AccessLogConfig, AccessLogSection};
use crate::config::admin::{AdminConfig, AdminSection};
use crate::config::context::CheckContext;
use crate::config::dns::{DnsConfig, DnsSection};
use crate::config::drain::{DrainConfig, DrainSection};
use crate::config::failback::FailbackSection;
use crate::config::field::Field;
use crate::config::hedge::HedgeSection;
use crate::config::limits::{LimitsConfig, LimitsSection};
use crate::config::listener::{self, ListenerConfig, ListenerSection};
use crate::config::outlier_detection::OutlierDetectionSection;
use crate::config::probation::ProbationSection;
use crate::config::probe::ProbeSection;
use crate::config::problem::{Problem, Span};
use crate::config::problems::Problems;
use crate::config::quantity::Integer;
use crate::config::region::{self, RegionSection};
use crate::config::region_names::RegionNames;
use crate::config::route::{RouteCheck, RouteSection};
use crate::config::source::SourceText;
use crate::config::state::{StateConfig, StateSection};
use crate::config::timeouts::TimeoutsSection;
use crate::config::viewer::{ViewerConfig, ViewerSection};
use crate::model::id::MAX_REGIONS;
use crate::model::token::is_token;
use crate::table::RoutingTable;
use crate::table::failback::FailbackConfig;
use crate::table::origin::{ProbeSpec, Region};
use crate::table::traffic_policy::TrafficPolicy;

/// What a proxy calls itself unless the file says.
const DEFAULT_NAME: &str = "meridian";

/// A whole configuration, checked. Files it names (certificates, databases) are not opened yet.
#[derive(Debug)]
pub struct Config {
    /// What this proxy calls itself in header fields.
    pub name: String,
    /// Worker threads; 0: one per core.
    pub workers: usize,
    /// Where viewers connect.
    pub listeners: Vec<ListenerConfig>,
    /// Where operators connect.
    pub admin: AdminConfig,
    /// How to learn where a viewer is.
    pub viewer: ViewerConfig,
    /// Regions and routes.
    pub table: Arc<RoutingTable>,
    /// Bounds that hold everywhere.
    pub limits: LimitsConfig,
    /// How names are resolved.
    pub dns: DnsConfig,
    /// How to leave.
    pub drain: DrainConfig,
    /// One JSON line per request.
    pub access_log: AccessLogConfig,
    /// What survives a restart.
    pub state: StateConfig,
    /// Every file that was read, the main one first: what to watch, and the text for carets.
    pub sources: Vec<SourceText>,
    /// Where each file that the configuration names (certificate, key, database) was written.
    pub named_files: BTreeMap<PathBuf, Span>,
    /// What is worth a warning.
    pub warnings: Vec<Problem>,
    /// Hash of the text of all files, to name a generation.
    pub content_hash: u64,
}

impl Config {
    /// Problems that a later step found in what the configuration names, such as an unreadable
    /// certificate; the place of each file is in [`Config::named_files`].
    #[must_use]
    pub fn problems(&self, list: Vec<Problem>) -> Problems {
        Problems::new(self.sources.clone(), list)
    }

    /// What is worth a warning, each with its line and caret; empty when there is none. `color`
    /// adds ANSI colours.
    #[must_use]
    pub fn render_warnings(&self, color: bool) -> String {
        if self.warnings.is_empty() {
            String::new()
        } else {
            self.problems(self.warnings.clone()).render(color)
        }
    }
}

/// One TOML file, read as a whole: all mistakes are reported at once.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(super) struct RootSection {
    /// Worker threads, each with its own listeners and pools; `0`: one per core. A change needs a
    /// restart.
    #[schemars(extend("default" = 0))]
    workers: Field<Integer<0, 1024>>,
    /// What this proxy calls itself in `Via`, `CDN-Loop` and `Proxy-Status`. A request that
    /// already carries it in `CDN-Loop` is refused (508), so two proxies in one path need two
    /// names.
    #[schemars(extend("default" = DEFAULT_NAME))]
    name: Field<String>,
    // Followed when the files were read; here only its type is checked.
    /// More files, relative to this one; a name may hold `*` and `?`. They may add listeners,
    /// routes, regions and sections this file does not have.
    #[schemars(extend("default" = []))]
    include: Field<Vec<Field<String>>>,
    /// Where viewers connect; at least one.
    listener: Field<Vec<Field<ListenerSection>>>,
    /// Where operators connect.
    admin: Field<AdminSection>,
    /// How to learn where a viewer is.
    viewer: Field<ViewerSection>,
    /// A named place and the service as deployed there; at least one, at most 64.
    #[schemars(extend("x-key" = "region"))]
    region: Field<BTreeMap<String, Field<RegionSection>>>,
    /// What to ask every endpoint, all the time, to learn whether it is well and how far it is.
    /// `[region.X.probe]` overrides single keys.
    probe: Field<ProbeSection>,
    /// Time limits. Those towards viewers may also stand on a listener, those towards origins on a
    /// route.
    timeouts: Field<TimeoutsSection>,
    /// Bounds that hold everywhere.
    limits: Field<LimitsSection>,
    /// How names of origins are resolved. The last good answer is kept when an answer is empty or
    /// an error.
    dns: Field<DnsSection>,
    /// How to leave without dropping a request.
    drain: Field<DrainSection>,
    /// One JSON line per request.
    access_log: Field<AccessLogSection>,
    /// How traffic returns to a region that was down and is well again.
    failback: Field<FailbackSection>,
    /// When live requests eject an endpoint, or a region from its routes, before its probes would.
    outlier_detection: Field<OutlierDetectionSection>,
    /// When a safe request that has no answer yet is sent to a second region beside the first.
    hedge: Field<HedgeSection>,
    /// What an endpoint that live requests ejected must answer before it returns.
    probation: Field<ProbationSection>,
    /// What survives a restart: health, latency, what operators said, the last good
    /// configuration.
    state: Field<StateSection>,
    /// Which requests may use which regions, and how to choose; at least one. The most specific
    /// host wins, then the longest path, whatever the order in the file.
    route: Field<Vec<Field<RouteSection>>>,
}

impl RootSection {
    /// The configuration that this means. It is complete even where problems were reported, with
    /// defaults in the place of what could not be read.
    pub(super) fn check(&self, context: CheckContext<'_>) -> Config {
        let (downstream, upstream) = self
            .timeouts
            .section(|timeouts, span| timeouts.check(span, &context));
        let listeners = listener::check(&self.listener, downstream, &context);
        let admin = self
            .admin
            .section(|admin, span| admin.check(span, &listeners, &context));
        let viewer = self
            .viewer
            .section(|viewer, span| viewer.check(span, &listeners, &context));
        let probe = self
            .probe
            .section(|probe, span| probe.check(span, ProbeSpec::default(), &context));
        let regions = region::check(&self.region, &probe, &context);
        let failback = self
            .failback
            .section(|failback, _| failback.check(FailbackConfig::default()));
        let (routes, route_failback) = RouteCheck {
            names: RegionNames {
                regions: &regions,
                context: &context,
            },
            timeouts: upstream,
            failback,
            unsaid_unknown: (!self.says_unknown()).then_some(viewer.unknown),
        }
        .routes(&self.route);
        let table = RoutingTable::new(file_names(&context), first(regions), routes)
            .with_failback(failback, &route_failback)
            .with_traffic_policy(self.traffic(&context));
        Config {
            name: self.name(&context),
            workers: self.workers.or(0),
            listeners,
            admin,
            viewer,
            table: Arc::new(table),
            limits: self
                .limits
                .section(|limits, span| limits.check(span, &context)),
            dns: self.dns.section(|dns, span| dns.check(span, &context)),
            drain: self
                .drain
                .section(|drain, span| drain.check(span, &context)),
            access_log: self
                .access_log
                .section(|access_log, _| access_log.check(&context)),
            state: self.state.section(|state, _| state.check(&context)),
            sources: context.sources.texts.clone(),
            named_files: context.into_named_files(),
            warnings: Vec::new(),
            content_hash: 0,
        }
    }

    /// How live requests are judged.
    fn traffic(&self, context: &CheckContext<'_>) -> TrafficPolicy {
        TrafficPolicy {
            outlier_detection: self.outlier_detection.section(|section, _| section.check()),
            hedge: self
                .hedge
                .section(|section, span| section.check(span, context)),
            probation: self.probation.section(|section, _| section.check()),
        }
    }

    /// Whether the file itself says what happens to viewers whose country nobody knows.
    fn says_unknown(&self) -> bool {
        let viewer = self.viewer.get();
        viewer.is_some_and(|viewer| viewer.unknown.is_written())
    }

    /// A token (RFC 9110 section 5.6.2), as the fields that carry it ask for.
    fn name(&self, context: &CheckContext<'_>) -> String {
        let Some((name, span)) = self.name.written() else {
            return DEFAULT_NAME.to_owned();
        };
        // Structured fields (RFC 9651) want a letter or an asterisk first.
        let first = name
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'*');
        if !first || !is_token(name) {
            let help = "use letters, digits, `-`, `_` and `.`, a letter first";
            context.error("bad-name", span, format!("{name:?} is no token"), help);
        }
        name.clone()
    }
}

fn file_names(context: &CheckContext<'_>) -> Vec<String> {
    let files = context.sources.texts.iter();
    files
        .map(|source| source.path.display().to_string())
        .collect()
}

/// The regions that a table holds; that there are more is said where they are read.
fn first(mut regions: Vec<Region>) -> Vec<Region> {
    regions.truncate(MAX_REGIONS);
    regions
}
