//! The threads that send, and what is asked of them together.

use std::rc::Rc;
use std::thread::JoinHandle;

use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::bench::alarm::Alarm;
use crate::cli::bench::carrier::Carrier;
use crate::cli::bench::dialer::Dialer;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::link::{Link, Shared, Trunk};
use crate::cli::bench::template::Template;
use crate::cli::bench::worker::{Orders, Update, work};
use crate::cli::failure::Failure;

/// Updates that may wait; each worker sends one a second.
const UPDATES: usize = 1024;

/// What each worker is given, its share not yet taken.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) orders: Orders,
    pub(super) dialer: Dialer,
    pub(super) template: Template,
    pub(super) region: http::HeaderName,
    pub(super) is_http2: bool,
    /// In all.
    pub(super) connections: usize,
    /// Of each connection.
    pub(super) streams: usize,
    pub(super) threads: usize,
}

/// What workers do now.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Opening,
    Running(Instant),
    Over,
}

/// Running workers.
#[derive(Debug)]
pub(super) struct Crew {
    threads: Vec<JoinHandle<()>>,
    updates: Receiver<Update>,
    phase: watch::Sender<Phase>,
}

impl Crew {
    /// Starts the threads; each opens its connections and waits for [`Self::go`].
    pub(super) fn start(job: &Job) -> Result<Self, Failure> {
        let (sender, updates) = mpsc::channel(UPDATES);
        let phase = watch::Sender::new(Phase::Opening);
        let mut threads = Vec::with_capacity(job.threads);
        for index in 0..job.threads {
            let (job, sender, phase) = (job.share(index), sender.clone(), phase.subscribe());
            let name = format!("bench-{index}");
            let thread = std::thread::Builder::new().name(name);
            let thread = thread.spawn(move || worker(job, &sender, phase));
            threads.push(thread.map_err(|error| no_thread(&error))?);
        }
        Ok(Self {
            threads,
            updates,
            phase,
        })
    }

    /// The next thing a worker tells; `None` when all have ended.
    pub(super) async fn update(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// From this moment requests are due.
    pub(super) fn go(&self, start: Instant) {
        self.phase.send_replace(Phase::Running(start));
    }

    /// Nothing more is sent, and nothing waited for.
    pub(super) fn stop(&self) {
        self.phase.send_replace(Phase::Over);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
        self.updates.close();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Job {
    fn share(&self, index: usize) -> Self {
        let workers = self.threads;
        let of = |all: usize| all / workers + usize::from(index < all % workers);
        let mut share = self.clone();
        share.orders.pace = self.orders.pace.share(index as u64, workers as u64);
        share.orders.queue = of(self.orders.queue);
        share.connections = of(self.connections);
        share
    }

    fn links(&self, shared: &Rc<Shared>) -> Vec<Link> {
        if !self.is_http2 {
            let link = |_| Link::Http1(Rc::clone(shared), None);
            return (0..self.connections).map(link).collect();
        }
        let trunks = (0..self.connections).map(|_| Rc::<Trunk>::default());
        let trunks: Vec<_> = trunks.collect();
        // Stream by stream, so that the first requests go over different connections.
        let each = std::iter::repeat_n(trunks, self.streams).flatten();
        each.map(|trunk| Link::Http2(Rc::clone(shared), trunk))
            .collect()
    }
}

fn no_thread(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot start a thread: {error}"))
}

fn worker(job: Job, updates: &Sender<Update>, phase: watch::Receiver<Phase>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(run(job, updates, phase)),
        Err(error) => {
            let text = format!("cannot start a runtime: {error}");
            let fault = Fault::new(crate::cli::bench::fault::FaultKind::Other, text);
            let _ = updates.blocking_send(Update::Ready(0, Some(fault)));
        }
    }
}

async fn run(job: Job, updates: &Sender<Update>, mut phase: watch::Receiver<Phase>) {
    let shared = Rc::new(Shared {
        dialer: job.dialer.clone(),
        template: job.template.clone(),
        region: job.region.clone(),
    });
    let mut stopped = phase.clone();
    let stop = async move {
        let _ = stopped.wait_for(|it| matches!(it, Phase::Over)).await;
    };
    tokio::pin!(stop);
    let (links, open, fault) = tokio::select! {
        opened = open(job.links(&shared)) => opened,
        () = &mut stop => return,
    };
    let _ = updates.send(Update::Ready(open, fault)).await;
    let going = phase
        .wait_for(|phase| !matches!(phase, Phase::Opening))
        .await;
    let Ok(Phase::Running(start)) = going.map(|phase| *phase) else {
        return;
    };
    let alarm = Alarm::best();
    work(job.orders, links, start, &alarm, updates, stop).await;
}

/// Opens all at the same time; how many are, and why the first is not that is not.
async fn open(links: Vec<Link>) -> (Vec<Link>, usize, Option<Fault>) {
    let mut opening = JoinSet::new();
    for mut link in links {
        opening.spawn_local(async move {
            let opened = link.open().await;
            (link, opened)
        });
    }
    let (mut links, mut open, mut fault) = (Vec::new(), 0, None);
    while let Some(Ok((link, opened))) = opening.join_next().await {
        links.push(link);
        match opened {
            Ok(()) => open += 1,
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    (links, open, fault)
}
