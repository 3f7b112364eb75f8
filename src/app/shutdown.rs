//! The order in which things stop.
//!
//! A plain sidecar gets SIGTERM together with its application, which may still have
//! calls to make. So headset says that it is leaving (`/readyz`, `Connection:
//! close`), keeps accepting until nothing has been in flight for 2 s or the drain
//! time is over, and only then closes. A second signal means now.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval, timeout_at};

use crate::admin::health::Health;
use crate::app::worker::Crew;
use crate::gateway::stack::record::Activity;
use crate::modes::Phase;

/// How long nothing must have been in flight.
const QUIET: Duration = Duration::from_secs(2);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// What makes headset stop.
#[derive(Debug)]
pub enum Stop {
    /// SIGTERM or SIGINT; a second one means now.
    Signals(Signals),
    /// Somebody in this process: a drain begins when the sender is used or dropped.
    Asked(oneshot::Receiver<()>),
}

/// The signals that end a process (SIGHUP is only logged), caught from the moment this is made.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                // Uncaught it would end the process; to many it means "reload".
                _ = self.hangup.recv() => tracing::warn!(
                    "SIGHUP ignored: the configuration is read at the start only, \
                     and secret files are watched; restart to change anything else"
                ),
            }
        }
    }
}

impl Stop {
    /// Stops at a signal. Call it before anything is announced.
    ///
    /// # Errors
    /// Where the handlers cannot be installed.
    pub fn at_signals() -> std::io::Result<Stop> {
        Ok(Stop::Signals(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        }))
    }

    async fn next(&mut self) -> &'static str {
        match self {
            Stop::Signals(signals) => signals.next().await,
            Stop::Asked(asked) => {
                // Awaited once only: a request has no second one that means now.
                let _ = asked.await;
                "request"
            }
        }
    }
}

/// Waits to be stopped, then stops in order.
pub async fn run(
    mut stop: Stop,
    drain: Duration,
    phase: watch::Sender<Phase>,
    health: &Health,
    activity: &Arc<Activity>,
    mut crew: Crew,
) {
    tokio::select! {
        why = stop.next() => {
            tracing::info!(stop.reason = why, in_flight = activity.open(), "draining");
        }
        () = crew.ended() => {
            tracing::error!("every worker has ended; leaving, so that somebody restarts headset");
            return;
        }
    }
    health.mark_draining();
    phase.send_replace(Phase::Draining);
    let deadline = Instant::now() + drain;
    let is_signalled = matches!(stop, Stop::Signals(_));
    let orderly = async {
        quiet(activity, deadline).await;
        phase.send_replace(Phase::Closing);
        timeout_at(deadline, crew.ended()).await.is_ok()
    };
    tokio::select! {
        finished = orderly => {
            if finished {
                tracing::info!("stopped, nothing was cut");
            } else {
                tracing::warn!(in_flight = activity.open(), "stopped when the drain time ended");
            }
        }
        _ = stop.next(), if is_signalled => {
            tracing::warn!(in_flight = activity.open(), "stopped at a second signal");
        }
    }
}

/// Waits until nothing was in flight for [`QUIET`], or until `deadline`.
async fn quiet(activity: &Activity, deadline: Instant) {
    let mut look = interval(LOOK);
    let mut busy = Instant::now();
    loop {
        let now = look.tick().await;
        if activity.open() > 0 {
            busy = now;
        }
        if now - busy >= QUIET || now >= deadline {
            return;
        }
    }
}
