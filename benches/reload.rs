//! What a new table of 10,000 routes costs the control runtime.

use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use meridian::resources::{BuildContext, Resources};
use meridian::telemetry::metrics::MetricsRegistry;
use meridian_core::apply::apply;
use meridian_core::config::{Reader, load};
use meridian_core::model::time::Timestamp;
use meridian_core::table::RoutingTable;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;

#[path = "../core/tests/it/support/world.rs"]
mod world;

use world::{THIRTY, World};

fn reloads(criterion: &mut Criterion) {
    let mut world = World::new(&THIRTY);
    for (index, name) in THIRTY.iter().enumerate() {
        world.measured(name, 5.0 + 7.0 * index as f64);
    }
    for number in 0..10_000 {
        let path = format!("/v1/service-{number}");
        world.route(&format!("route-{number}"), &path, &THIRTY, Policy::Latency);
        world.last().host = HostPattern::Exact(format!("host-{}.example.com", number / 10));
        world.residency(&[("@eu", &THIRTY[13..21])]);
    }
    let beliefs = world.beliefs();
    let event = world.load();
    let table = Arc::clone(&beliefs.table);
    criterion.bench_function("reload/table/10000", |bencher| {
        bencher.iter_batched(
            || {
                (
                    table.files.clone(),
                    table.regions.clone(),
                    table.routes.clone(),
                )
            },
            |(files, regions, routes)| RoutingTable::new(files, regions, routes),
            BatchSize::LargeInput,
        );
    });
    criterion.bench_function("reload/apply/10000", |bencher| {
        bencher.iter(|| apply(black_box(&beliefs), event.clone(), Timestamp::ZERO));
    });
}

/// Ten thousand routes as an operator would write them.
fn text() -> String {
    let mut text = String::from("[[listener]]\naddress = \"127.0.0.1:8080\"\n");
    for name in THIRTY {
        let _ = writeln!(
            text,
            "[region.{name}]\norigins = [\"https://{name}.example.com\"]"
        );
    }
    for number in 0..10_000 {
        let _ = writeln!(
            text,
            "[[route]]\nname = \"route-{number}\"\nhost = \"host-{}.example.com\"\n\
             path = \"/v1/service-{number}\"\nregions = {THIRTY:?}",
            number / 10,
        );
    }
    text
}

/// From the file's text to everything a worker needs: all of a reload but the publishing.
fn whole(criterion: &mut Criterion) {
    let text = text();
    let reader = Reader {
        read: &|_| Ok(text.clone()),
        list: &|_| Ok(Vec::new()),
        env: &|_| None,
    };
    let registry = MetricsRegistry::default();
    criterion.bench_function("reload/read/10000", |bencher| {
        bencher.iter(|| load(Path::new("bench.toml"), &reader).expect("it is valid"));
    });
    criterion.bench_function("reload/read-and-build/10000", |bencher| {
        bencher.iter(|| {
            let config = load(Path::new("bench.toml"), &reader).expect("it is valid");
            let context = BuildContext {
                registry: &registry,
                workers: 2,
                now: SystemTime::UNIX_EPOCH,
                binds: false,
                before: None,
            };
            Resources::build(Arc::new(config), context).expect("all of it can be built")
        });
    });
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
}

criterion_group!(name = benches; config = quick(); targets = reloads, whole);
criterion_main!(benches);
