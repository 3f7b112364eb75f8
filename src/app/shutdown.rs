//! The order in which things stop.
//!
//! A plain sidecar gets SIGTERM together with its application, which may still have
//! calls to make. So headset says that it is leaving (`/readyz`, `Connection:
//! close`), keeps accepting until nothing has been in flight for 2 s or the drain
//! time is over, and only then closes. Last, the credentials that are to end with the
//! process are ended at their issuers, for which the end of the drain time is kept
//! free. A second signal means now.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval, timeout_at};

use crate::admin::health::Health;
use crate::app::plan::Plan;
use crate::app::worker::Crew;
use crate::credential::slot::Slot;
use crate::gateway::stack::record::Activity;
use crate::modes::Phase;

/// How long nothing must have been in flight.
const QUIET: Duration = Duration::from_secs(2);

/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The end of the drain time that is kept free for ending credentials: this, or a
/// quarter of it if that is less.
const REVOCATION: Duration = Duration::from_secs(5);

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
    plan: &Plan,
    mut crew: Crew,
) {
    let activity = &plan.activity;
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
    let end = Instant::now() + drain;
    let revoking = revoking(plan);
    let deadline = match revoking.is_empty() {
        true => end,
        false => end - REVOCATION.min(drain / 4),
    };
    let is_signalled = matches!(stop, Stop::Signals(_));
    let orderly = async {
        quiet(activity, deadline).await;
        phase.send_replace(Phase::Closing);
        let finished = timeout_at(deadline, crew.ended()).await.is_ok();
        revoke(revoking, end).await;
        finished
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

/// The slots whose credentials end with the process.
fn revoking(plan: &Plan) -> Vec<Arc<Slot>> {
    let mut all = plan.live_slots();
    all.retain(|slot| slot.mint().revokes_on_shutdown());
    all
}

/// Ends what `slots` obtained, until `end` at most: all at once, but a credential that
/// others need for that after them.
async fn revoke(slots: Vec<Arc<Slot>>, end: Instant) {
    let (first, last): (Vec<_>, Vec<_>) = slots
        .into_iter()
        .partition(|slot| slot.mint().leans_on_another());
    for slots in [first, last] {
        revoke_all(slots, end).await;
    }
}

async fn revoke_all(slots: Vec<Arc<Slot>>, end: Instant) {
    let mut revocations = tokio::task::JoinSet::new();
    for slot in slots {
        revocations.spawn(async move {
            let revoked = timeout_at(end, slot.mint().revoke()).await;
            let error = match &revoked {
                Ok(Ok(())) => {
                    tracing::info!(credential.name = %slot.name(), "credential ended");
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the drain time is over".into(),
            };
            tracing::warn!(
                credential.name = %slot.name(),
                error = %error,
                "credential could not be ended: it lives on until its expiry"
            );
        });
    }
    while revocations.join_next().await.is_some() {}
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
