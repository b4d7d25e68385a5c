//! Regions that ask to be spared: 429, or 503 with `Retry-After`.

use std::net::Ipv4Addr;
use std::sync::Arc;

use http::{Response, StatusCode};
use tokio::time::Instant;

use crate::support::client::{request, send_from};
use crate::support::origin::{Behaviour, Seen, TestBody, full};
use crate::support::regions::{Regions, TIMEOUTS};

fn put_off(status: StatusCode) -> Response<TestBody> {
    let answer = Response::builder()
        .status(status)
        .header("retry-after", "7");
    answer.body(full("later")).unwrap()
}

#[tokio::test]
async fn a_region_that_puts_off_most_viewers_is_believed_each_time_and_then_left() {
    tokio::join!(
        is_left(StatusCode::TOO_MANY_REQUESTS),
        is_left(StatusCode::SERVICE_UNAVAILABLE)
    );
}

async fn is_left(status: StatusCode) {
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions
        .a
        .behave(Behaviour::With(Arc::new(move |_| put_off(status))));
    regions.edge.out("a").await;
    let out = Instant::now();
    load.more(40).await;
    let visits = load.end().await;
    let others = [regions.b.seen(), regions.c.seen()].concat();
    let late: Vec<_> = visits.0.iter().filter(|one| one.text == "later").collect();
    assert!(late.len() >= 10, "{late:#?}");
    for visit in late {
        assert_eq!(visit.status, Some(status.as_u16()), "{visit:#?}");
        let retried = others.iter().any(|seen| seen.path == visit.path);
        assert!(!retried, "{visit:#?}");
    }
    // Whoever tries the region meanwhile is put off, too; the others see nothing of it.
    let since = visits.since(out);
    let noticed = since.0.iter().filter(|visit| visit.status != Some(200));
    assert!(noticed.count() <= 2, "{since:#?}");
    assert_eq!(regions.edge.moves("a").0, 1);
    regions.no_write_was_executed_twice(&visits);
}

#[tokio::test]
async fn one_viewer_who_is_put_off_all_the_time_takes_no_region_out() {
    const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 9);
    let regions = Regions::start(TIMEOUTS).await;
    let load = regions.load().await;
    regions.a.behave(Behaviour::With(Arc::new(|seen: Seen| {
        if seen.headers["x-forwarded-for"] == "127.0.9.9" {
            put_off(StatusCode::TOO_MANY_REQUESTS)
        } else {
            Response::new(full("a"))
        }
    })));
    let address = regions.edge.address;
    let greedy: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..100 {
                    let reply = send_from(GREEDY, address, request("GET", "/", &[], "")).await;
                    let reply = reply.unwrap();
                    assert_eq!(reply.status, 429, "{}", reply.text());
                    assert_eq!(reply.field("retry-after"), "7");
                }
            })
        })
        .collect();
    for task in greedy {
        task.await.unwrap();
    }
    load.end().await.nobody_noticed(&["a"]);
    assert_eq!(regions.edge.moves("a"), (0, 0));
    assert!(regions.b.seen().is_empty());
}
