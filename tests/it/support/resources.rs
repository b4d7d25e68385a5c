//! Small configurations, built without a file.

use std::sync::Arc;
use std::time::Duration;

use meridian::board::{Board, Live};
use meridian::clock::Clock;
use meridian::resources::{BuildContext, Resources};
use meridian::telemetry::metrics::MetricsRegistry;
use meridian_core::config::{
    AccessLogConfig, AdminConfig, Config, DnsConfig, DrainConfig, LimitsConfig, ViewerConfig,
};
use meridian_core::model::viewer::UnknownViewer;
use meridian_core::table::RoutingTable;
use tokio::sync::watch;

/// Resources for plain origins, without sockets.
pub(crate) fn resources(table: Arc<RoutingTable>, content_hash: u64) -> Arc<Resources> {
    let config = Config {
        name: "meridian".to_owned(),
        workers: 0,
        listeners: Vec::new(),
        admin: AdminConfig {
            address: None,
            token: None,
        },
        viewer: ViewerConfig {
            country_headers: Vec::new(),
            geoip: None,
            unknown: UnknownViewer::Any,
        },
        table,
        limits: LimitsConfig::default(),
        dns: DnsConfig::default(),
        drain: DrainConfig::default(),
        access_log: AccessLogConfig::default(),
        state: Default::default(),
        sources: Vec::new(),
        named_files: Default::default(),
        warnings: Vec::new(),
        content_hash,
    };
    let context = BuildContext {
        registry: &MetricsRegistry::default(),
        workers: 1,
        now: std::time::SystemTime::UNIX_EPOCH,
        binds: false,
        before: None,
    };
    Arc::new(Resources::build(Arc::new(config), context).unwrap())
}

/// A board that has `resources` installed.
pub(crate) async fn board(resources: Arc<Resources>, clock: Clock) -> Board {
    let live = Live::new(Arc::default(), Arc::clone(&resources));
    let board = Board::start(live, clock, &MetricsRegistry::default());
    board.install(resources).await;
    board
}

/// Waits until `holds`, looking whenever `changes` does; fails after ten seconds.
pub(crate) async fn until(changes: &mut watch::Receiver<u64>, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        loop {
            changes.borrow_and_update();
            if holds() {
                return;
            }
            changes.changed().await.expect("its sender lives");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting)
        .await
        .expect("it holds within ten seconds");
}
