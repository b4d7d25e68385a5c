//! The simulated regions of one cell, on a thread of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::capacity::Capacity;
use crate::certificates::Certificates;
use crate::dns::NameServer;
use crate::endpoint::{Endpoint, Kind};
use crate::fault::{Behaviour, Say, Whom};
use crate::ledger::Ledger;
use crate::relay::Relay;
use crate::setup::{AT_ONCE, Setup};
use crate::topology::{Network, Topology};

/// How many sets of addresses ago an address was last named when its endpoint ends.
const FAREWELL: usize = 2;

/// Where nginx listens in front of a region, and the region itself.
pub(crate) type Front = (SocketAddr, SocketAddr);

/// The three regions and their name server; dropping it ends them.
pub(crate) struct World {
    /// Where the proxy finds the endpoints of each region.
    pub(crate) addresses: [Vec<SocketAddr>; 3],
    /// The nginx that are to be in front of the regions.
    pub(crate) fronts: Vec<Front>,
    /// The name server.
    pub(crate) names: SocketAddr,
    /// The authority of the certificates, in PEM, where there is TLS.
    pub(crate) authority: Option<String>,
    /// What the regions did.
    pub(crate) ledger: Ledger,
    behaviours: [Vec<watch::Sender<Behaviour>>; 3],
    say: watch::Sender<Say>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// Opens three regions that serve, each after its delay.
    pub(crate) fn start(topology: Topology) -> io::Result<Self> {
        let setup = topology.setup;
        // What nginx asks is HTTP/1.1.
        let is_http2 = setup == Setup::Http2 && topology.network != Network::Nginx;
        let ledger = Ledger::default();
        let [near, next, far] = setup.endpoints();
        let addresses = [addresses(near)?, addresses(next)?, addresses(far)?];
        let behaviours = addresses.each_ref().map(|all| {
            let senders = all.iter().map(|_| watch::Sender::new(Behaviour::Serving));
            senders.collect::<Vec<_>>()
        });
        let certificates = (setup == Setup::Tls).then(Certificates::new).transpose()?;
        let authority = certificates.as_ref().map(|made| made.authority.clone());
        let mut endpoints = Vec::new();
        for region in 0..3 {
            let capacity = Capacity::default();
            for (address, behaviour) in addresses[region].iter().zip(&behaviours[region]) {
                endpoints.push(Endpoint {
                    region,
                    address: *address,
                    delay: topology.delays[region],
                    noise: setup.noise(),
                    kind: match &certificates {
                        Some(made) => Kind::Tls(made.clone()),
                        None if is_http2 => Kind::Http2,
                        None => Kind::Plain,
                    },
                    behaviour: behaviour.subscribe(),
                    ledger: ledger.clone(),
                    served: Arc::default(),
                    probed: Arc::default(),
                    capacity: capacity.clone(),
                });
            }
        }
        let say = watch::Sender::new(Say::Usual);
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let names = socket.local_addr()?;
        let server = NameServer {
            socket,
            regions: addresses.clone(),
            say: say.subscribe(),
        };
        let (relays, fronts) = between(topology.network, &addresses)?;
        let stop = watch::Sender::new(false);
        let mut found = addresses;
        for relay in &relays {
            found[relay.region] = vec![relay.address];
        }
        let thread = spawn(endpoints, relays, server, stop.subscribe())?;
        Ok(Self {
            addresses: found,
            fronts,
            names,
            authority,
            ledger,
            behaviours,
            say,
            stop,
            thread: Some(thread),
        })
    }

    /// Makes `whom` behave so; or the name server, if it is about names.
    pub(crate) fn behave(&self, whom: Whom, behaviour: Behaviour) {
        if let Behaviour::Names(say) = behaviour {
            return self.name(say);
        }
        let [near, ..] = &self.behaviours;
        let senders: Vec<_> = match whom {
            Whom::Regions(count) => self.behaviours[..count].iter().flatten().collect(),
            Whom::Region(one) => self.behaviours[one].iter().collect(),
            Whom::Endpoint(one) => near.get(one).into_iter().collect(),
        };
        for sender in senders {
            turn(sender, behaviour);
        }
    }

    fn name(&self, say: Say) {
        if say == Say::Same {
            return;
        }
        self.say.send_replace(say);
        if let Say::Moved(set) = say {
            let gone = set.saturating_sub(FAREWELL) * AT_ONCE;
            for sender in self.behaviours[0].iter().take(gone) {
                turn(sender, Behaviour::Down);
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn turn(sender: &watch::Sender<Behaviour>, behaviour: Behaviour) {
    sender.send_if_modified(|now| std::mem::replace(now, behaviour) != behaviour);
}

/// What carries between the proxy and each region, and the nginx in between.
fn between(
    network: Network,
    regions: &[Vec<SocketAddr>; 3],
) -> io::Result<(Vec<Relay>, Vec<Front>)> {
    let (mut relays, mut fronts) = (Vec::new(), Vec::new());
    for (region, endpoints) in regions.iter().enumerate() {
        let Some(mut to) = endpoints.first().copied() else {
            continue;
        };
        if network == Network::Nginx {
            let front = free_address()?;
            fronts.push((front, to));
            to = front;
        }
        if network.is_before(region) {
            let relay = Relay {
                region,
                address: free_address()?,
                to,
                delay: network.delay(),
                loss: network.loss(),
            };
            relays.push(relay);
        }
    }
    Ok((relays, fronts))
}

fn spawn(
    endpoints: Vec<Endpoint>,
    relays: Vec<Relay>,
    server: NameServer,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(std::thread::spawn(move || {
        runtime.block_on(async {
            for endpoint in endpoints {
                tokio::spawn(endpoint.run());
            }
            for relay in relays {
                tokio::spawn(relay.run());
            }
            tokio::spawn(server.run());
            let _ = stopped.wait_for(|stop| *stop).await;
        });
    }))
}

/// A loopback address nobody has.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    addresses(1)?
        .pop()
        .ok_or_else(|| io::ErrorKind::AddrInUse.into())
}

/// So many loopback addresses with one port that nobody has, below the range that outgoing
/// connections use: a region that is down must find its port free when it comes back.
fn addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..200 {
        let port = fastrand::u16(15_000..32_000);
        let all = (1..).take(count);
        let all = all.map(|number| SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), port)));
        let all: Vec<_> = all.collect();
        let bound: io::Result<Vec<_>> = all.iter().map(std::net::TcpListener::bind).collect();
        match bound {
            Ok(_) => return Ok(all),
            Err(error) => last = error,
        }
    }
    Err(last)
}
