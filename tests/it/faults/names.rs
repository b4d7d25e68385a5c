//! What a name server says wrong, or all at once, moves nobody.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use crate::support::dns::{DnsServer, Say};
use crate::support::origin::FakeOrigin;
use crate::support::regions::{Regions, numbered};

/// Sixty addresses of this machine.
fn sixty(net: u8) -> Vec<Ipv4Addr> {
    (1..=60)
        .map(|last| Ipv4Addr::new(127, 2, net, last))
        .collect()
}

/// Region `a` is at whatever addresses `dns` says, asked anew every 50 ms.
async fn named(dns: &DnsServer) -> Regions {
    let a = FakeOrigin::start_with("a", false, None, "0.0.0.0:0".parse().unwrap()).await;
    let port = a.address.port();
    let (old, new) = (a.url(), format!("http://origin.example:{port}"));
    let asked = format!(
        "[dns]\nservers = [\"{}\"]\nmin_ttl = \"50ms\"\nmax_ttl = \"50ms\"\n",
        dns.address
    );
    Regions::behind(a, &asked, |text| {
        // Sixty endpoints are probed once, and then no more: this is about names.
        text.replace(&old, &new)
            .replace("interval = \"100ms\"", "interval = \"1h\"")
    })
    .await
}

/// Waits until the region's endpoints are these.
async fn moved_to(regions: &Regions, addresses: &[Ipv4Addr]) {
    let wanted: BTreeSet<_> = addresses.iter().copied().map(IpAddr::from).collect();
    regions
        .edge
        .believes(|snapshot| {
            let region = &snapshot.regions[numbered(snapshot, "a").index()];
            let known = region.endpoints.iter().map(|one| one.address.ip());
            known.collect::<BTreeSet<_>>() == wanted
        })
        .await;
}

#[tokio::test]
async fn no_answer_of_a_name_server_takes_a_region_away() {
    let home = vec![Ipv4Addr::LOCALHOST];
    let dns = DnsServer::start(Say::Addresses(home.clone(), 0)).await;
    let regions = named(&dns).await;
    let load = regions.load().await;
    for (say, result) in [
        (Say::Empty, "empty"),
        (Say::NxDomain, "nxdomain"),
        (Say::ServFail, "servfail"),
    ] {
        dns.say(say);
        let told = format!("meridian_dns_answers_total{{result=\"{result}\"}}");
        regions.edge.counted(&told, 2.0).await;
        load.more(20).await;
    }
    moved_to(&regions, &home).await;
    load.end().await.nobody_noticed(&["a"]);
    assert_eq!(regions.edge.moves("a"), (0, 0));
}

#[tokio::test]
async fn sixty_addresses_that_are_all_replaced_again_and_again_move_nobody() {
    let dns = DnsServer::start(Say::Addresses(sixty(0), 0)).await;
    let regions = named(&dns).await;
    moved_to(&regions, &sixty(0)).await;
    let load = regions.load().await;
    for net in 1..5 {
        dns.say(Say::Addresses(sixty(net), 0));
        moved_to(&regions, &sixty(net)).await;
        load.more(40).await;
    }
    let visits = load.end().await;
    visits.nobody_noticed(&["a"]);
    regions.no_write_was_executed_twice(&visits);
    assert_eq!(regions.edge.moves("a"), (0, 0));
}
