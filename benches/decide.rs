//! What a decision costs, by policy and number of routes; and that it allocates nothing.

#![expect(clippy::print_stderr, reason = "a bench reports to the terminal")]
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use meridian_core::decide::decide;
use meridian_core::decide::request::RequestFacts;
use meridian_core::decide::snapshot::Snapshot;
use meridian_core::model::id::RegionId;
use meridian_core::model::place::Place;
use meridian_core::table::policy::Policy;
use meridian_core::table::route::HostPattern;

#[path = "../core/tests/it/support/world.rs"]
mod world;

use world::{THIRTY, World, viewer};

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One route per host and path, all over thirty measured regions.
fn snapshot(routes: usize, policy: &Policy, bound: bool) -> Snapshot {
    let mut world = World::new(&THIRTY);
    for (index, name) in THIRTY.iter().enumerate() {
        world.measured(name, 5.0 + 7.0 * index as f64);
    }
    for number in 0..routes {
        let path = format!("/v1/service-{number}");
        world.route(&format!("route-{number}"), &path, &THIRTY, policy.clone());
        world.last().host = HostPattern::Exact(format!("host-{}.example.com", number / 10));
        if bound {
            world.prefer(&[("JP", &THIRTY[2..4]), ("@europe", &THIRTY[13..18])]);
            world.residency(&[("@eu", &THIRTY[13..21]), ("CH", &THIRTY[14..15])]);
        }
    }
    world.snapshot()
}

fn decisions(criterion: &mut Criterion) {
    let weights = (0..30).map(|r| (RegionId(r), u32::from(r) + 1)).collect();
    let policies = [
        Policy::Latency,
        Policy::Failover,
        Policy::Geo,
        Policy::Weighted(weights),
    ];
    for routes in [10, 100, 1_000, 10_000] {
        for policy in &policies {
            for (lines, bound) in [("plain", false), ("bound", true)] {
                let snapshot = snapshot(routes, policy, bound);
                let name = format!("{}/{lines}/{routes}", policy.label());
                measure(criterion, &name, &snapshot, routes, viewer(Some("DE")));
                if *policy == Policy::Geo {
                    let mut placed = viewer(Some("DE"));
                    placed.place = Place::at(52.5, 13.4);
                    let name = format!("geo-coordinates/{lines}/{routes}");
                    measure(criterion, &name, &snapshot, routes, placed);
                }
            }
        }
    }
}

fn measure(
    criterion: &mut Criterion,
    name: &str,
    snapshot: &Snapshot,
    routes: usize,
    viewer: meridian_core::model::viewer::Viewer,
) {
    // Requests go all over the table, so that the caches cannot hold one route's entries.
    let requests: Vec<(String, String)> = (0..1024)
        .map(|n| (n * 7919) % routes)
        .map(|n| {
            let host = format!("host-{}.example.com", n / 10);
            (host, format!("/v1/service-{n}/x"))
        })
        .collect();
    let mut next = 0;
    let mut once = || {
        let (host, path) = &requests[next % requests.len()];
        next += 1;
        let facts = RequestFacts::get(Some(host), path, &viewer);
        black_box(decide(black_box(snapshot), &facts)).expect("a region serves");
    };
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (0..10_000).for_each(|_| once());
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    eprintln!(
        "decide/{name}: {} allocations per decision",
        allocations as f64 / 1e4
    );
    assert_eq!(allocations, 0, "a decision allocates nothing");
    criterion.bench_function(&format!("decide/{name}"), |bencher| bencher.iter(&mut once));
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500))
        .without_plots()
}

criterion_group!(name = benches; config = quick(); targets = decisions);
criterion_main!(benches);
