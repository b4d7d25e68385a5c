//! The listeners that one worker accepts from, as the configuration changes.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::edge::shutdown::{ShutdownGuard, ShutdownSignal};
use crate::resources::bound::Bound;
use crate::resources::{ListenerResources, Resources};

/// The listeners a worker accepts from.
#[derive(Debug)]
pub(super) struct OpenListeners {
    number: usize,
    open: Vec<OpenListener>,
}

/// One of them: what was built for it, and what keeps it open.
#[derive(Debug)]
struct OpenListener {
    listener: watch::Sender<Arc<ListenerResources>>,
    _open: ShutdownGuard,
}

impl OpenListener {
    /// Whether it accepts from these sockets; others at the same address do not count.
    fn leads_to(&self, bound: &Arc<Bound>) -> bool {
        let listener = self.listener.borrow();
        let own = listener.bound.as_ref();
        own.is_some_and(|own| Arc::ptr_eq(own, bound))
    }
}

impl OpenListeners {
    /// None yet, of worker `number`.
    pub(super) fn new(number: usize) -> Self {
        Self {
            number,
            open: Vec::new(),
        }
    }

    /// Opens the listeners that are new, hands the others what was built anew, and closes those that
    /// went.
    pub(super) fn follow(
        &mut self,
        resources: &Resources,
        mut start: impl FnMut(TcpListener, watch::Receiver<Arc<ListenerResources>>, ShutdownSignal),
    ) {
        let listeners = resources.listeners.iter();
        let all: Vec<_> = listeners
            .filter_map(|listener| Some((listener, listener.bound.as_ref()?)))
            .collect();
        self.open
            .retain(|open| all.iter().any(|(_, bound)| open.leads_to(bound)));
        for (listener, bound) in all {
            if let Some(open) = self.open.iter().find(|one| one.leads_to(bound)) {
                open.listener.send_replace(Arc::clone(listener));
                continue;
            }
            let Some(socket) = bound.take(self.number) else {
                continue;
            };
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let (sender, listener) = watch::channel(Arc::clone(listener));
                    let (guard, shutdown) = ShutdownSignal::new();
                    start(socket, listener, shutdown);
                    self.open.push(OpenListener {
                        listener: sender,
                        _open: guard,
                    });
                }
                Err(error) => tracing::error!(
                    address = %bound.address(), worker = self.number, %error,
                    "a worker cannot listen: connections that the system gives it are lost; \
                     raise `ulimit -n` and restart the process"
                ),
            }
        }
    }

    /// Accepts no more.
    pub(super) fn close(&mut self) {
        self.open.clear();
    }
}
