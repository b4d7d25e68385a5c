//! The threads that send, and what is asked of them together.

use std::rc::Rc;
use std::thread::JoinHandle;

use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::bench::alarm::Alarm;
use crate::cli::bench::dialer::Dialer;
use crate::cli::bench::fault::RequestFault;
use crate::cli::bench::http_connection::{ConnectionSetup, HttpConnection, SharedHttp2};
use crate::cli::bench::load_connection::LoadConnection;
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
enum RunPhase {
    Opening,
    Running(Instant),
    Over,
}

/// Running workers.
#[derive(Debug)]
pub(super) struct Workers {
    threads: Vec<JoinHandle<()>>,
    updates: Receiver<Update>,
    phase: watch::Sender<RunPhase>,
}

impl Workers {
    /// Starts the threads; each opens its connections and waits for [`Self::go`].
    pub(super) fn start(job: &Job) -> Result<Self, Failure> {
        let (sender, updates) = mpsc::channel(UPDATES);
        let phase = watch::Sender::new(RunPhase::Opening);
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
        self.phase.send_replace(RunPhase::Running(start));
    }

    /// Nothing more is sent, and nothing waited for.
    pub(super) fn stop(&self) {
        self.phase.send_replace(RunPhase::Over);
    }
}

impl Drop for Workers {
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
        share.orders.arrivals = self.orders.arrivals.share(index as u64, workers as u64);
        share.orders.queue = of(self.orders.queue);
        share.connections = of(self.connections);
        share
    }

    fn connections(&self, shared: &Rc<ConnectionSetup>) -> Vec<HttpConnection> {
        if !self.is_http2 {
            let connection = |_| HttpConnection::Http1(Rc::clone(shared), None);
            return (0..self.connections).map(connection).collect();
        }
        let shared_connections = (0..self.connections).map(|_| Rc::<SharedHttp2>::default());
        let shared_connections: Vec<_> = shared_connections.collect();
        // Stream by stream, so that the first requests go over different connections.
        let each = std::iter::repeat_n(shared_connections, self.streams).flatten();
        each.map(|connection| HttpConnection::Http2(Rc::clone(shared), connection))
            .collect()
    }
}

fn no_thread(error: &std::io::Error) -> Failure {
    Failure::Failed(format!("cannot start a thread: {error}"))
}

fn worker(job: Job, updates: &Sender<Update>, phase: watch::Receiver<RunPhase>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    match runtime {
        Ok(runtime) => runtime.block_on(run(job, updates, phase)),
        Err(error) => {
            let text = format!("cannot start a runtime: {error}");
            let fault = RequestFault::new(crate::cli::bench::fault::FaultKind::Other, text);
            let _ = updates.blocking_send(Update::Ready(0, Some(fault)));
        }
    }
}

async fn run(job: Job, updates: &Sender<Update>, mut phase: watch::Receiver<RunPhase>) {
    let shared = Rc::new(ConnectionSetup {
        dialer: job.dialer.clone(),
        template: job.template.clone(),
        region: job.region.clone(),
    });
    let mut stopped = phase.clone();
    let stop = async move {
        let _ = stopped.wait_for(|it| matches!(it, RunPhase::Over)).await;
    };
    tokio::pin!(stop);
    let (connections, open, fault) = tokio::select! {
        opened = open(job.connections(&shared)) => opened,
        () = &mut stop => return,
    };
    let _ = updates.send(Update::Ready(open, fault)).await;
    let going = phase
        .wait_for(|phase| !matches!(phase, RunPhase::Opening))
        .await;
    let Ok(RunPhase::Running(start)) = going.map(|phase| *phase) else {
        return;
    };
    let alarm = Alarm::best();
    work(job.orders, connections, start, &alarm, updates, stop).await;
}

/// Opens all at the same time; how many are, and why the first is not that is not.
async fn open(
    connections: Vec<HttpConnection>,
) -> (Vec<HttpConnection>, usize, Option<RequestFault>) {
    let mut opening = JoinSet::new();
    for mut connection in connections {
        opening.spawn_local(async move {
            let opened = connection.open().await;
            (connection, opened)
        });
    }
    let (mut connections, mut open, mut fault) = (Vec::new(), 0, None);
    while let Some(Ok((connection, opened))) = opening.join_next().await {
        connections.push(connection);
        match opened {
            Ok(()) => open += 1,
            Err(error) => fault = fault.or(Some(error)),
        }
    }
    (connections, open, fault)
}
