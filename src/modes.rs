//! From a listening socket to the gateway, and the order in which that ends.
//!
//! What modes differ in is only how they find the target of a call. In `reverse` the host and
//! path of the call choose a route; in `forward` the call names its target itself, or came in
//! a tunnel to it (`gateway/forward.rs`).

mod aside;
pub mod connection;
mod crowded;
mod ending;
mod http1;
mod http2;
mod phase;
mod proxied;
mod serving;
pub mod upgrade;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::base::panic::CatchPanic;
use crate::gateway::metrics::ListenerRefusal;
use crate::modes::crowded::Crowd;
use crate::net::listen::Listener;
use crate::net::poll_clock;
pub use phase::Phase;
pub use proxied::ProxyPeers;
pub use serving::{ConnectionRules, CurrentService, Pages, Service, Serving};

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
    if let Err(error) = ended
        && !error.is_cancelled()
    {
        tracing::error!(error.detail = %error, "a fault of headset ended a caller's connection");
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
    let mut crowd = Crowd::default();
    loop {
        let (io, counted) = tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase >= Phase::Removed) => return,
            // Reaps as it goes, so that the set holds open connections only.
            Some(ended) = tasks.join_next() => {
                note(ended);
                continue;
            }
            accepted = listener.accept(exhausted) => accepted,
        };
        let now = current.serving();
        let mut permit = now.connections.take();
        if permit.is_none() {
            now.metrics.refused(ListenerRefusal::Connections).inc();
            if now.makes_room {
                permit = crowd.make_room(tasks, &now.connections).await;
            }
        }
        // Closed at once: a caller that cannot be served should know.
        let Some(permit) = permit else { continue };
        let notes = now.makes_room.then(|| io.notes().clone());
        let Serving {
            acceptor,
            rules,
            metrics,
            ..
        } = now;
        let (current, phase) = (current.clone(), phase.clone());
        // Boxed while nothing of it has begun: on its way to where it is polled, a task is moved
        // ten times, and this one has room for a call.
        let task = tasks.spawn_local(poll_clock::polled(Box::pin(async move {
            connection::serve(io, acceptor, current, rules, metrics, phase).await;
            drop((permit, counted));
        })));
        if let Some(notes) = notes {
            crowd.join(&notes, task);
        }
    }
}

/// How often a want of descriptors that lasts is logged.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// How often pools are swept.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

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
