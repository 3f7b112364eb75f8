//! Why headset ends a connection of a caller: a head that does not end, a rest that is too
//! long, a caller that takes nothing, or a fault; each with its count. One lazy timer a
//! connection keeps all three times.

use std::time::Duration;

use tokio::time::Instant;

use crate::gateway::metrics::{ListenerMetrics, ListenerRefusal};
use crate::modes::serving::ConnectionRules;
use crate::net::caller::ConnState;
use crate::net::frames::Flood;
use crate::net::h2_error::H2Error;

/// Why a connection is closed by us.
pub(super) enum Expired {
    Head,
    Rest,
    Stuck,
}

/// Ends when the connection has outstayed one of its times. It wakes when the
/// nearest could be over, not when something moves.
pub(super) async fn expiry(notes: &ConnState, rules: &ConnectionRules) -> Expired {
    loop {
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        let mut due = |since: Option<Instant>, limit: Duration| {
            if limit.is_zero() {
                return false;
            }
            // What has not begun can at the earliest end a whole limit from now.
            let deadline = since.unwrap_or(now) + limit;
            next = Some(next.map_or(deadline, |next| next.min(deadline)));
            since.is_some() && deadline <= now
        };
        if due(notes.stuck_since.get(), rules.idle) {
            return Expired::Stuck;
        }
        if due(notes.head_since.get(), rules.header) {
            return Expired::Head;
        }
        let resting = notes.calls.get() == 0 && notes.head_since.get().is_none();
        if due(resting.then(|| notes.rested.get()), rules.keep_alive) {
            return Expired::Rest;
        }
        match next {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// Counts a connection that is closed because it outstayed a time.
pub(super) fn refuse(metrics: &ListenerMetrics, why: Expired) {
    match why {
        Expired::Head => metrics.refused(ListenerRefusal::SlowHead).inc(),
        Expired::Stuck => {
            metrics.refused(ListenerRefusal::SlowReader).inc();
            tracing::debug!("closed a connection whose caller read nothing");
        }
        Expired::Rest => {}
    }
}

/// Counts and logs an HTTP/2 connection that ended by `error`.
pub(super) fn note_failure(error: h2::Error, notes: &ConnState, metrics: &ListenerMetrics) {
    // Ours, or what the protocol library called one (CONTINUATION, unseen resets).
    let flood = notes
        .flood
        .get()
        .or_else(|| is_flood(&error).then(|| notes.suspect.get()));
    match flood {
        Some(Flood::Resets) => metrics.refused(ListenerRefusal::ResetFlood).inc(),
        Some(Flood::Frames) => metrics.refused(ListenerRefusal::FrameFlood).inc(),
        None => {}
    }
    let error = H2Error::from(error);
    tracing::debug!(error.detail = %error, "a caller's connection ended early");
}

/// Whether it is the library that calls what came a flood (RFC 9113 §7).
fn is_flood(error: &h2::Error) -> bool {
    error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM)
}
