//! One simulated region: endpoints on loopback that answer late on purpose and can be told to
//! misbehave.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::demo::answer::Served;
use crate::demo::endpoint::RegionEndpoint;
use crate::demo::switch::FaultSwitch;

/// A region to simulate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionSpec {
    /// Its name.
    pub name: String,
    /// How long every answer takes, as a round trip to it would.
    pub delay: Duration,
    /// The loopback port of each endpoint; 0: any free one.
    pub ports: Vec<u16>,
}

impl RegionSpec {
    /// A region with one endpoint on any free port, `delay` milliseconds away.
    #[must_use]
    pub fn new(name: &str, delay: u64) -> Self {
        Self::with_endpoints(name, delay, 1)
    }

    /// A region with so many endpoints on any free ports, `delay` milliseconds away.
    #[must_use]
    pub fn with_endpoints(name: &str, delay: u64, endpoints: usize) -> Self {
        Self {
            name: name.to_owned(),
            delay: Duration::from_millis(delay),
            ports: vec![0; endpoints],
        }
    }
}

/// A simulated region that runs until this is dropped.
#[derive(Debug)]
pub struct SimulatedRegion {
    spec: RegionSpec,
    ports: Vec<u16>,
    switch: FaultSwitch,
    /// Dropping it tells the server to end.
    stop: Option<watch::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SimulatedRegion {
    /// Binds the ports and starts the servers on a thread of their own.
    ///
    /// # Errors
    /// When a port cannot be bound or the thread cannot be started.
    pub fn start(spec: &RegionSpec) -> io::Result<Self> {
        let endpoints = spec.ports.iter().map(|port| RegionEndpoint::open(*port));
        let endpoints = endpoints.collect::<io::Result<Vec<_>>>()?;
        let ports = endpoints.iter().map(RegionEndpoint::port).collect();
        let switch = FaultSwitch::new(&spec.name);
        let (stop, mut stopped) = watch::channel(());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let served = Arc::new(Served::new(&spec.name, spec.delay, spec.ports.len()));
        let tended = switch.clone();
        let thread = std::thread::Builder::new()
            .name(format!("region {}", spec.name))
            .spawn(move || {
                runtime.block_on(async move {
                    for (place, endpoint) in endpoints.into_iter().enumerate() {
                        let served = Arc::clone(&served);
                        tokio::spawn(endpoint.serve(served, tended.sight(place)));
                    }
                    tokio::select! {
                        () = tended.tend() => {}
                        // The sender never sends: this ends when it is dropped.
                        _ = stopped.changed() => {}
                    }
                });
            })?;
        Ok(Self {
            spec: spec.clone(),
            ports,
            switch,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How long it takes to answer.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.spec.delay
    }

    /// The loopback port of each endpoint, kept while the region has failed.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// The switch of its faults.
    #[must_use]
    pub fn switch(&self) -> FaultSwitch {
        self.switch.clone()
    }
}

impl Drop for SimulatedRegion {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has printed why; there is nothing to add.
            let _ = thread.join();
        }
    }
}
