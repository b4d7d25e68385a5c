//! The simulated regions of one cell, on a thread of their own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::certificates::Certificates;
use crate::dns::NameServer;
use crate::endpoint::{Endpoint, Kind};
use crate::fault::{Behaviour, Say, Whom};
use crate::ledger::Ledger;
use crate::setup::{AT_ONCE, Setup};

/// How many sets of addresses ago an address was last named when its endpoint ends.
const FAREWELL: usize = 2;

/// The three regions and their name server; dropping it ends them.
pub(crate) struct World {
    /// Where the endpoints of each region listen.
    pub(crate) addresses: [Vec<SocketAddr>; 3],
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
    pub(crate) fn start(setup: Setup, delays: [Duration; 3]) -> io::Result<Self> {
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
            for (address, behaviour) in addresses[region].iter().zip(&behaviours[region]) {
                endpoints.push(Endpoint {
                    region,
                    address: *address,
                    delay: delays[region],
                    noise: setup.noise(),
                    kind: match &certificates {
                        Some(made) => Kind::Tls(made.clone()),
                        None if setup == Setup::Http2 => Kind::Http2,
                        None => Kind::Plain,
                    },
                    behaviour: behaviour.subscribe(),
                    ledger: ledger.clone(),
                    served: Arc::default(),
                    probed: Arc::default(),
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
        let stop = watch::Sender::new(false);
        let thread = spawn(endpoints, server, stop.subscribe())?;
        Ok(Self {
            addresses,
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
        let (regions, endpoints) = match whom {
            Whom::Regions(count) => (count, usize::MAX),
            Whom::OneEndpoint => (1, 1),
        };
        for region in &self.behaviours[..regions] {
            for sender in region.iter().take(endpoints) {
                turn(sender, behaviour);
            }
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

fn spawn(
    endpoints: Vec<Endpoint>,
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
