//! What is built for a configuration before it serves: TLS, trust, databases, metric handles,
//! bound sockets. Building it is all that can fail of a reload; publishing it cannot.

pub(crate) mod bound;
pub(crate) mod identity;
pub(crate) mod state_dir;
pub mod tls;
pub(crate) mod trust;
pub mod viewer_rules;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::geo::{GeoError, GeoTable};
use crate::resources::bound::Bound;
use crate::resources::identity::Identity;
use crate::resources::state_dir::{StateDir, StateDirError};
use crate::resources::tls::{TlsError, server_config};
use crate::resources::trust::TrustedPeers;
use crate::resources::viewer_rules::ViewerRules;
use crate::telemetry::metrics::{MetricsRegistry, RequestMetrics};
use crate::upstream::tls::{UpstreamTlsError, client_config};
use meridian_core::config::problem::Problem;
use meridian_core::config::problems::Problems;
use meridian_core::config::{Config, LimitsConfig, ListenerConfig};
use meridian_core::table::RoutingTable;
use meridian_core::table::origin::UpstreamSpec;

/// The code of the one problem that is the machine's and not the file's.
pub const CANNOT_LISTEN: &str = "cannot-listen";

/// Everything built for one configuration. Never changes; a reload builds another.
#[derive(Debug)]
pub struct Resources {
    /// The configuration it was built for.
    pub config: Arc<Config>,
    /// How many workers there are.
    pub workers: usize,
    /// How we name ourselves.
    pub identity: Identity,
    /// One per configured listener, in order.
    pub listeners: Vec<Arc<ListenerResources>>,
    /// TLS towards the origins, by region; `None` where all origins are plain.
    pub upstream_tls: Vec<Option<Arc<rustls::ClientConfig>>>,
    /// Which header fields tell where a viewer is.
    pub viewer: ViewerRules,
    /// Address to country.
    pub geo: Arc<GeoTable>,
    /// Counters by route and region.
    pub metrics: Arc<RequestMetrics>,
    /// Where to keep what survives a restart; `None`: nowhere.
    pub state: Option<StateDir>,
}

/// What is built for one listener.
#[derive(Debug)]
pub struct ListenerResources {
    /// As configured.
    pub config: ListenerConfig,
    /// Bounds.
    pub limits: LimitsConfig,
    /// Who may speak for viewers.
    pub trust: TrustedPeers,
    /// TLS towards viewers.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Its sockets; shared by all resources that listen at this address. Absent where nothing is
    /// to be opened.
    pub bound: Option<Arc<Bound>>,
}

/// What building needs besides the configuration.
#[derive(Clone, Copy, Debug)]
pub struct BuildContext<'a> {
    /// Where counters are kept across reloads.
    pub registry: &'a MetricsRegistry,
    /// How many workers there are.
    pub workers: usize,
    /// Now, to judge certificates.
    pub now: SystemTime,
    /// Whether sockets are opened.
    pub binds: bool,
    /// What serves now: its sockets are kept.
    pub before: Option<&'a Resources>,
}

impl Resources {
    /// Opens and builds all that `config` names.
    ///
    /// # Errors
    /// Every problem at once, each at the place where the file or address was written.
    pub fn build(config: Arc<Config>, context: BuildContext<'_>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let upstream_tls = upstream_tls(&config, &mut problems);
        let geo = geo(&config, &mut problems);
        let tls = listener_tls(&config, context.now, &mut problems);
        let state = state_dir(&config, context, &mut problems);
        // Sockets come last: nothing is opened for a configuration that is refused anyway.
        let open = context.binds && problems.is_empty();
        let bound = open.then(|| bind_all(&config, context, &mut problems));
        let identity = Identity::new(&config.name);
        let (true, Some(identity)) = (problems.is_empty(), identity) else {
            return Err(config.problems(problems));
        };
        let mut bound = bound.unwrap_or_default().into_iter();
        let listeners = config.listeners.iter().zip(tls).map(|(listener, tls)| {
            Arc::new(ListenerResources {
                config: listener.clone(),
                limits: config.limits,
                trust: TrustedPeers::new(&listener.trusted_peers),
                tls,
                bound: bound.next().flatten(),
            })
        });
        Ok(Self {
            workers: context.workers,
            identity,
            listeners: listeners.collect(),
            upstream_tls,
            viewer: ViewerRules::new(&config.viewer),
            geo: Arc::new(geo),
            metrics: Arc::new(
                context
                    .registry
                    .request_metrics(&config.table, context.workers),
            ),
            state,
            config,
        })
    }

    /// What is worth a warning of the files that were opened: certificates near their end or dear
    /// to serve, a database grown old.
    #[must_use]
    pub fn warnings(&self, now: SystemTime) -> Vec<Problem> {
        let span = |path: &Path| self.config.named_files.get(path).copied();
        let tls = self
            .config
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let certificates = tls.flat_map(|tls| {
            let facts = tls::certificate_facts(tls).unwrap_or_default();
            tls::warnings(&facts, now)
        });
        let mut warnings: Vec<_> = certificates
            .map(|(path, message)| Problem::warning("certificate", span(&path), message))
            .collect();
        let unix = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let info = self.geo.info();
        if info.is_stale(unix) {
            let path = info.database.as_ref().map(|database| database.path.clone());
            let days = info.age(unix).unwrap_or_default().as_secs() / (24 * 3600);
            let message = format!("the country database in use was built {days} days ago");
            let span = path.and_then(|path| span(&path));
            warnings.push(Problem::warning("old-database", span, message));
        }
        warnings
    }

    /// Every file this configuration depends on.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let sources = self.config.sources.iter().map(|source| source.path.clone());
        sources
            .chain(self.config.named_files.keys().cloned())
            .collect()
    }

    /// The addresses viewers connect to, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let bound = self
            .listeners
            .iter()
            .filter_map(|listener| listener.bound.as_ref());
        bound.map(|bound| bound.address()).collect()
    }
}

fn upstream_tls(
    config: &Config,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Arc<rustls::ClientConfig>>> {
    let table: &RoutingTable = &config.table;
    // Regions that trust alike share one: to read the system's roots takes milliseconds.
    let mut shared: Vec<(&UpstreamSpec, Arc<rustls::ClientConfig>)> = Vec::new();
    let mut regions = Vec::with_capacity(table.regions.len());
    for region in &table.regions {
        if !region.origins.iter().any(|origin| origin.tls) {
            regions.push(None);
            continue;
        }
        let known = shared
            .iter()
            .find(|(spec, _)| spec.trusts_like(&region.upstream));
        if let Some((_, built)) = known {
            regions.push(Some(Arc::clone(built)));
            continue;
        }
        match client_config(&region.upstream) {
            Ok(built) => {
                shared.push((&region.upstream, Arc::clone(&built)));
                regions.push(Some(built));
            }
            Err(error) => {
                problems.push(upstream_problem(config, &region.name, &error));
                regions.push(None);
            }
        }
    }
    regions
}

fn upstream_problem(config: &Config, region: &str, error: &UpstreamTlsError) -> Problem {
    let span = error
        .path()
        .and_then(|path| config.named_files.get(path))
        .copied();
    Problem::error(
        "bad-upstream-tls",
        span,
        format!("region {region}: {error}"),
    )
}

fn geo(config: &Config, problems: &mut Vec<Problem>) -> GeoTable {
    let path = config.viewer.geoip.as_deref();
    GeoTable::load(path).unwrap_or_else(|error: GeoError| {
        let span = path
            .and_then(|path: &Path| config.named_files.get(path))
            .copied();
        problems.push(Problem::error("bad-database", span, error.to_string()));
        GeoTable::default()
    })
}

fn listener_tls(
    config: &Config,
    now: SystemTime,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Arc<rustls::ServerConfig>>> {
    let listeners = config.listeners.iter().map(|listener| {
        let built = server_config(listener.tls.as_ref()?, now);
        built
            .map_err(|error: TlsError| {
                let span = error
                    .path()
                    .and_then(|path| config.named_files.get(path))
                    .copied();
                problems.push(Problem::error("bad-certificate", span, error.to_string()));
            })
            .ok()
    });
    listeners.collect()
}

/// The directory for state. One that is in use is not tried again: if it cannot be written to any
/// more, that is said where it is written to, and must not stand in the way of a reload.
fn state_dir(
    config: &Config,
    context: BuildContext<'_>,
    problems: &mut Vec<Problem>,
) -> Option<StateDir> {
    let path = config.state.dir.as_deref()?;
    let dir = StateDir::at(path);
    let before = context.before.and_then(|before| before.state.as_ref());
    if before == Some(&dir) {
        return Some(dir);
    }
    let usable = if context.binds {
        StateDir::open(path, context.now).map(drop)
    } else {
        StateDir::check(path)
    };
    if let Err(error) = usable {
        problems.push(unusable(config, &error));
    }
    Some(dir)
}

fn unusable(config: &Config, error: &StateDirError) -> Problem {
    Problem::error("bad-state-dir", config.state.written, error.to_string()).help(
        "name a directory that this user may write to, or leave `dir` out to keep state in memory",
    )
}

/// The sockets of every listener: those that serve now where the address is the same, else new
/// ones.
fn bind_all(
    config: &Config,
    context: BuildContext<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Arc<Bound>>> {
    // Several listeners may have asked for any free port: each keeps the one it got.
    let before = context.before.iter().flat_map(|before| &before.listeners);
    let mut before: Vec<_> = before.collect();
    let ports = before.iter().filter_map(|before| before.bound.as_ref());
    let ports: Vec<u16> = ports.map(|bound| bound.address().port()).collect();
    let mut kept = |listener: &ListenerConfig| {
        let same = |before: &&Arc<ListenerResources>| {
            let bound = before.bound.as_ref().map(|bound| bound.address());
            [Some(before.config.address), bound].contains(&Some(listener.address))
        };
        let place = before.iter().position(same)?;
        before.remove(place).bound.clone()
    };
    let sockets = config.listeners.iter().map(|listener| {
        kept(listener).or_else(|| {
            let ours = ports.contains(&listener.address.port());
            let bound = Bound::bind(listener.address, context.workers, ours);
            bound
                .map_err(|error| {
                    problems.push(Problem::error(CANNOT_LISTEN, None, error.to_string()));
                })
                .map(Arc::new)
                .ok()
        })
    });
    sockets.collect()
}
