//! What it costs to find a request's route among many.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use meridian_core::table::path::matched_path;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;

#[path = "../core/tests/it/support/world.rs"]
mod world;

use world::{THIRTY, World};

fn matches(criterion: &mut Criterion) {
    for routes in [10, 100, 1_000, 10_000] {
        let mut exact = World::new(&THIRTY);
        let mut suffix = World::new(&THIRTY);
        let mut any = World::new(&THIRTY);
        for number in 0..routes {
            let path = format!("/v1/service-{number}");
            let name = format!("route-{number}");
            let host = format!("host-{}.example.com", number / 10);
            exact.route(&name, &path, &THIRTY, Policy::Latency);
            exact.last().host = HostPattern::Exact(host.clone());
            suffix.route(&name, &path, &THIRTY, Policy::Latency);
            suffix.last().host = HostPattern::Suffix(host);
            any.route(&name, &path, &THIRTY, Policy::Latency);
        }
        for (kind, world, prefix) in [
            ("exact", exact, ""),
            ("suffix", suffix, "www."),
            ("any", any, ""),
        ] {
            let table = world.table();
            let requests: Vec<(String, String)> = (0..1024)
                .map(|n| (n * 7919) % routes)
                .map(|n| {
                    let host = format!("{prefix}host-{}.example.com", n / 10);
                    (host, format!("/v1/service-{n}/users/42"))
                })
                .collect();
            let mut next = 0;
            criterion.bench_function(&format!("route_match/{kind}/{routes}"), |bencher| {
                bencher.iter(|| {
                    let (host, path) = &requests[next % requests.len()];
                    next += 1;
                    let path = matched_path(black_box(path));
                    table.route_for(Some(host), &path).expect("a route matches")
                });
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
}

criterion_group!(name = benches; config = quick(); targets = matches);
criterion_main!(benches);
