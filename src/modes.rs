//! From a listening socket to the gateway, and the order in which that ends.
//!
//! What modes differ in is only how they find the target of a call; today there is
//! one, `reverse`: the host and path of the call choose a route.

pub mod connection;
pub mod stream;
pub mod upgrade;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::base::panic::CatchPanic;
use crate::base::permits::Permits;
use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::gateway::response_body::ResponseBody;
use crate::gateway::route::Gateway;
use crate::modes::connection::ConnectionRules;
use crate::net::caller::ConnState;
use crate::net::listen::Listener;
use crate::net::tls::server::TlsAcceptor;

/// How far headset is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Serving,
    /// Asked to stop: still accepting, since a sidecar gets the signal together with
    /// its application; answers close their connections.
    Draining,
    /// Its listener was removed by a reload: it accepts nothing; open connections are
    /// told with their next answer to close.
    Removed,
    /// No more calls: accept nothing, close what is idle.
    Closing,
    /// The drain time is over: WebSockets are closed, too.
    Over,
}

/// What answers the calls of a listener.
#[derive(Clone, Debug)]
pub enum Service {
    /// The routes of an application listener.
    Gateway(Rc<Gateway>),
    /// Pages of headset's own.
    Pages(Rc<dyn Pages>),
}

/// Pages of headset's own: what the admin listener shows.
pub trait Pages: std::fmt::Debug {
    /// The answer to `request`.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;
}

impl Service {
    /// The answer to a request of a caller of whom these are the `notes`.
    async fn answer(
        &self,
        request: Request<Incoming>,
        notes: &ConnState,
    ) -> Response<ResponseBody> {
        match self {
            Service::Gateway(gateway) => gateway.answer(request, notes).await,
            Service::Pages(pages) => pages.answer(request).await,
        }
    }
}

/// By what a worker serves one listener.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Who puts TLS on its connections; `None` leaves them plain.
    pub acceptor: Option<Arc<TlsAcceptor>>,
    /// What answers its calls.
    pub service: Service,
    /// How callers' connections are kept.
    pub rules: Arc<ConnectionRules>,
    /// Connections that may be open, all listeners and workers together.
    pub connections: Arc<Permits>,
    /// Counts what is refused.
    pub metrics: Arc<ListenerMetrics>,
}

/// By what one listener is served on this worker now; a reload puts something else
/// there. A call asks once, at its head, and a connection once, when it is accepted.
#[derive(Debug)]
pub struct CurrentService(RefCell<Serving>);

impl CurrentService {
    /// `serving`, for now.
    pub fn new(serving: Serving) -> Rc<CurrentService> {
        Rc::new(CurrentService(RefCell::new(serving)))
    }

    /// From now on `serving`. What is under way ends by what it began with.
    pub fn replace(&self, serving: Serving) {
        // Dropped after the borrow: it may close connections.
        let before = self.0.replace(serving);
        drop(before);
    }

    /// What answers a call that comes in now.
    pub fn service(&self) -> Service {
        self.0.borrow().service.clone()
    }

    /// Its routes, where it is an application listener.
    pub fn gateway(&self) -> Option<Rc<Gateway>> {
        match &self.0.borrow().service {
            Service::Gateway(gateway) => Some(gateway.clone()),
            Service::Pages(_) => None,
        }
    }

    /// From now on keeps new connections by `rules`.
    pub fn keep_by(&self, rules: Arc<ConnectionRules>) {
        self.0.borrow_mut().rules = rules;
    }

    fn metrics(&self) -> Arc<ListenerMetrics> {
        self.0.borrow().metrics.clone()
    }

    fn serving(&self) -> Serving {
        self.0.borrow().clone()
    }
}

/// Accepts on `listener` and serves as `current` says until the phase is
/// [`Phase::Removed`] or later, then waits for open connections to finish. Each
/// connection is served on this worker, by one task. Accepting begins anew where it
/// panics, which is told to `panicked`; open connections notice nothing.
pub async fn serve(
    listener: Listener,
    current: Rc<CurrentService>,
    phase: watch::Receiver<Phase>,
    panicked: impl Fn(&str),
) {
    let mut tasks = JoinSet::new();
    let accepting = async || accept(&listener, &current, phase.clone(), &mut tasks).await;
    persist(accepting, panicked).await;
    drop(listener);
    while let Some(ended) = tasks.join_next().await {
        note(ended);
    }
}

/// How long after a panic the work begins anew: one that always panics must not spin.
const PAUSE: Duration = Duration::from_secs(1);

/// Does `work` until it ends by itself. A panic in it is told to `panicked`, and it begins
/// anew.
async fn persist(mut work: impl AsyncFnMut(), panicked: impl Fn(&str)) {
    while let Err(panic) = CatchPanic::new(work()).await {
        panicked(&panic);
        tokio::time::sleep(PAUSE).await;
    }
}

/// A panic in one connection is that connection's end and nobody else's.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error.detail = %error, "a caller's connection failed by a fault of headset");
    }
}

async fn accept(
    listener: &Listener,
    current: &Rc<CurrentService>,
    mut phase: watch::Receiver<Phase>,
    tasks: &mut JoinSet<()>,
) {
    let told = Cell::new(None::<Instant>);
    let exhausted = |error: &io::Error| {
        current
            .metrics()
            .refused(ListenerRefusal::Descriptors)
            .inc();
        if told.get().is_none_or(|told| told.elapsed() > TELL_AGAIN) {
            told.set(Some(Instant::now()));
            tracing::warn!(
                error.detail = %error,
                "cannot accept connections; is the limit of open files too low?"
            );
        }
    };
    loop {
        let io = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase >= Phase::Removed) => return,
            // Reaps as it goes, so that the set holds open connections only.
            Some(ended) = tasks.join_next() => {
                note(ended);
                continue;
            }
            io = listener.accept(exhausted) => io,
        };
        let now = current.serving();
        let Some(permit) = now.connections.take() else {
            // Closed at once: a caller that cannot be served should know.
            now.metrics.refused(ListenerRefusal::Connections).inc();
            continue;
        };
        let connection = connection::serve(
            io,
            now.acceptor,
            current.clone(),
            now.rules,
            now.metrics,
            phase.clone(),
        );
        tasks.spawn_local(async move {
            connection.await;
            drop(permit);
        });
    }
}

/// How often a want of descriptors that lasts is logged.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How often pools are swept.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_panics_begins_anew_and_each_panic_is_told() {
        let (begun, told) = (Cell::new(0), RefCell::new(Vec::new()));
        let start = Instant::now();
        let work = async || {
            tokio::task::yield_now().await;
            begun.set(begun.get() + 1);
            assert!(begun.get() == 3, "fault {}", begun.get());
        };
        persist(work, |panic| told.borrow_mut().push(panic.to_owned())).await;
        assert_eq!(*told.borrow(), ["fault 1", "fault 2"]);
        assert_eq!(start.elapsed(), 2 * PAUSE);
    }
}
